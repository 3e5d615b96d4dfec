package esp

import (
	"bytes"
	"crypto/subtle"
	"encoding/binary"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// FuzzOpen opens mutated packets under their real keys. Whatever the bytes are, nothing
// but the published packet itself is accepted, and the window stays.
func FuzzOpen(f *testing.F) {
	all := append(vectors(), scapyVectors(f)...)
	for i, v := range all {
		f.Add(uint16(i), unhex(f, v.packet))
	}
	f.Fuzz(func(t *testing.T, which uint16, packet []byte) {
		v := all[int(which)%len(all)]
		o, genuine := v.opener(t), unhex(t, v.packet)
		top := o.Top()
		_, err := o.Open(bytes.Clone(packet))
		if w, ok := published(t, all, v, packet); ok {
			if w.seq == v.seq && err != w.want {
				t.Fatalf("the genuine packet %s: %v, want %v", w.name, err, w.want)
			}
			return
		}
		switch err {
		case ErrShort, ErrReservedSPI, ErrSPI, ErrAlignment, ErrReplayed, ErrLate, ErrICV:
		default:
			t.Fatalf("forged packet %x: %v", packet, err)
		}
		if o.Top() != top {
			t.Fatalf("forged packet %x has moved the window from %#x to %#x", packet, top, o.Top())
		}
		if _, err := o.Open(genuine); err != v.want {
			t.Fatalf("after the forged packet %x the genuine one gives %v, want %v", packet, err, v.want)
		}
	})
}

// published returns the vector that packet is, if it is one under v's key: some share it. With another number
// than v's it is genuine too, but whether it is in time is not said.
func published(t *testing.T, all []vector, v vector, packet []byte) (w vector, ok bool) {
	for _, w := range all {
		if w.suite == v.suite && w.keymat == v.keymat && bytes.Equal(packet, unhex(t, w.packet)) {
			return w, true
		}
	}
	return vector{}, false
}

// FuzzOpenMutated seals a packet under a real key and then changes it: mask is laid over it from its first byte
// on, past whose end it is appended, and cut bytes are taken off. Only where nothing is changed is it accepted.
func FuzzOpenMutated(f *testing.F) {
	suites := allSuites()
	for which := range suites {
		esn, transport := which%2 == 0, which%3 == 0
		f.Add(uint8(which), esn, transport, uint8(which), []byte{}, uint8(0))
		f.Add(uint8(which), esn, transport, uint8(40), []byte{3: 1}, uint8(0))
		f.Add(uint8(which), esn, transport, uint8(41), []byte{7: 1}, uint8(0))
		f.Add(uint8(which), esn, transport, uint8(42), []byte{40: 0x80}, uint8(0))
		f.Add(uint8(which), esn, transport, uint8(43), []byte{}, uint8(which%40))
		f.Add(uint8(which), esn, transport, uint8(44), bytes.Repeat([]byte{0, 1}, 80), uint8(0))
	}
	f.Fuzz(func(t *testing.T, which uint8, esn, transport bool, size uint8, mask []byte, cut uint8) {
		c := testConfig(suites[int(which)%len(suites)], esn)
		c.Transport = transport
		s, o := newPair(t, c)
		inner, nextHeader := innerPacket(t, 4, 20+int(size))
		genuine := mustSeal(t, s, inner, nextHeader)
		packet := bytes.Clone(genuine)
		if n := len(mask) - len(packet); n > 0 {
			packet = append(packet, mask[len(packet):]...)
		}
		subtle.XORBytes(packet, packet, mask[:min(len(mask), len(genuine))])
		packet = packet[:max(len(packet)-int(cut), 0)]
		if !bytes.Equal(packet, genuine) {
			switch got, err := o.Open(packet); err {
			case ErrShort, ErrReservedSPI, ErrSPI, ErrAlignment, ErrReplayed, ErrLate, ErrICV:
			default:
				t.Fatalf("mutated packet: %+v, %v", got, err)
			}
			if o.Top() != 0 {
				t.Fatalf("the mutated packet has moved the window to %d", o.Top())
			}
		}
		got, err := o.Open(bytes.Clone(genuine))
		if err != nil || got.NextHeader != nextHeader || !bytes.Equal(got.Payload, inner) || o.Top() != 1 {
			t.Fatalf("the genuine packet gives %+v, %v", got, err)
		}
		if _, err := o.Open(genuine); err != ErrReplayed {
			t.Fatalf("the genuine packet a second time: %v", err)
		}
	})
}

// FuzzOpenSealedBody seals mutated bodies, trailer included, under a real key: what an
// authenticated but hostile peer can send. What is accepted keeps every promise of Open.
func FuzzOpenSealedBody(f *testing.F) {
	suites := allSuites()
	for _, v := range vectors() {
		f.Add(uint8(0), v.esn, false, unhex(f, v.plaintext))
		f.Add(uint8(0), v.esn, true, unhex(f, v.plaintext))
	}
	for _, version := range []int{4, 6} {
		inner, nextHeader := innerPacket(f, version, 62)
		for which := range suites {
			f.Add(uint8(which), true, which%2 == 0, append(bytes.Clone(inner), 0, nextHeader))
			f.Add(uint8(which), false, which%2 == 1, append(bytes.Clone(inner), 1, 2, 2, nextHeader))
		}
	}
	f.Add(uint8(0), false, false, []byte{0, NextHeaderDummy})
	f.Add(uint8(0), false, true, []byte{0, 6})
	f.Fuzz(func(t *testing.T, which uint8, esn, transport bool, body []byte) {
		c := testConfig(suites[int(which)%len(suites)], esn)
		c.Transport = transport
		s, o := newPair(t, c)
		got, err := o.Open(sealBody(t, s, body))
		switch err {
		case ErrShort:
			if len(body) >= trailerLen {
				t.Fatalf("body %x is short", body)
			}
			return
		case ErrAlignment:
			if wholeBlocks(s, body) || o.Top() != 0 {
				t.Fatalf("body %x is not in whole blocks; the window's top is %d", body, o.Top())
			}
			return
		case ErrPadding:
			if padded(body) {
				t.Fatalf("body %x has good padding", body)
			}
		case ErrNextHeader, ErrBadInnerLength:
			if transport {
				t.Fatalf("body %x: %v in transport mode", body, err)
			}
		case nil:
			if !padded(body) {
				t.Fatalf("body %x has bad padding", body)
			}
			if !transport {
				checkOpened(t, got, body)
			} else if n := len(body) - 2; got.Seq != 1 || got.NextHeader != body[n+1] || !bytes.Equal(got.Payload, body[:n-int(body[n])]) {
				t.Fatalf("body %x was opened as %+v", body, got)
			}
		default:
			t.Fatalf("body %x: %v", body, err)
		}
		if o.Top() != 1 {
			t.Fatalf("body %x: the window's top is %d, want 1", body, o.Top())
		}
	})
}

// padded reports whether a body ends with 1, 2, 3, …, their number, and a next header.
func padded(body []byte) bool {
	n := len(body) - 2
	pad := int(body[n])
	if pad > n {
		return false
	}
	for i := range pad {
		if int(body[n-pad+i]) != i+1 {
			return false
		}
	}
	return true
}

func checkOpened(t *testing.T, got Opened, body []byte) {
	if got.Seq != 1 || got.NextHeader != body[len(body)-1] || !bytes.HasPrefix(body, got.Payload) {
		t.Fatalf("body %x was opened as %+v", body, got)
	}
	length := len(got.Payload)
	switch got.NextHeader {
	case NextHeaderIPv4:
		length = int(binary.BigEndian.Uint16(got.Payload[2:]))
	case NextHeaderIPv6:
		length = ipwire.IPv6HeaderLen + int(binary.BigEndian.Uint16(got.Payload[4:]))
	case NextHeaderDummy:
	default:
		t.Fatalf("body %x was opened with next header %d", body, got.NextHeader)
	}
	if length != len(got.Payload) {
		t.Fatalf("body %x: the payload is %d bytes long and says %d", body, len(got.Payload), length)
	}
}
