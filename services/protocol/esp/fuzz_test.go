package esp

import (
	"bytes"
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

// FuzzOpenSealedBody seals mutated bodies, trailer included, under a real key: what an
// authenticated but hostile peer can send. What is accepted keeps every promise of Open.
func FuzzOpenSealedBody(f *testing.F) {
	suites := allSuites()
	for _, v := range vectors() {
		f.Add(uint8(0), v.esn, unhex(f, v.plaintext))
	}
	for _, version := range []int{4, 6} {
		inner, nextHeader := innerPacket(f, version, 62)
		for which := range suites {
			f.Add(uint8(which), true, append(bytes.Clone(inner), 0, nextHeader))
		}
	}
	f.Add(uint8(0), false, []byte{0, NextHeaderDummy})
	f.Fuzz(func(t *testing.T, which uint8, esn bool, body []byte) {
		s, o := newPair(t, testConfig(suites[int(which)%len(suites)], esn))
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
		case ErrPadding, ErrNextHeader, ErrBadInnerLength:
		case nil:
			checkOpened(t, got, body)
		default:
			t.Fatalf("body %x: %v", body, err)
		}
		if o.Top() != 1 {
			t.Fatalf("body %x: the window's top is %d, want 1", body, o.Top())
		}
	})
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
