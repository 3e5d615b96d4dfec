package ah

import (
	"bytes"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// FuzzOpen opens mutated datagrams under their real keys. What is accepted says what the genuine one says, in all
// that counts; nothing else moves the window, and no byte ever changes.
func FuzzOpen(f *testing.F) {
	all := scapyVectors(f)
	for i, v := range all {
		f.Add(uint8(i), travel(v.packet))
	}
	f.Fuzz(func(t *testing.T, which uint8, packet []byte) {
		v := all[int(which)%len(all)]
		genuine := travel(v.packet)
		where, err := Locate(genuine)
		if err != nil {
			t.Fatal(err)
		}
		at, err := Locate(packet)
		if err != nil {
			at = where
		}
		o, before := v.opener(t), bytes.Clone(packet)
		got, err := o.Open(packet, at)
		if !bytes.Equal(packet, before) {
			t.Fatalf("opening has made %x of %x", packet, before)
		}
		switch err {
		case nil:
			if !published(all, v, packet, at, got) {
				t.Fatalf("%s: forged packet %x was opened: %+v", v.name, packet, got)
			}
			return
		case ErrShort, ErrNoAH, ErrFragment, ErrHeaders, ErrRouting, ErrReservedSPI, ErrSPI, ErrLength, ErrReplayed, ErrLate, ErrICV:
		default:
			t.Fatalf("forged packet %x: %v", packet, err)
		}
		if o.Top() != v.seq-1 {
			t.Fatalf("%s: forged packet %x has moved the window to %#x", v.name, packet, o.Top())
		}
		if _, err := o.Open(genuine, where); err != nil {
			t.Fatalf("%s: after the forged packet %x the genuine one gives %v", v.name, packet, err)
		}
	})
}

// published says whether a packet that v's Opener has opened is one of v's key, but for what may change.
func published(all []vector, v vector, packet []byte, at int, got Opened) bool {
	for _, w := range all {
		if !bytes.Equal(w.config.Keymat, v.config.Keymat) || w.config.ESN != v.config.ESN {
			continue
		}
		genuine := travel(w.packet)
		addresses := packet[12:20]
		if packet[0]>>4 == 6 {
			addresses = packet[8:40]
		}
		if got.Seq == w.seq && got.NextHeader == w.nextHeader && bytes.Equal(got.Payload, genuine[len(genuine)-w.payload:]) &&
			at == len(genuine)-w.payload-got.HeaderLen && bytes.Contains(genuine[:at], addresses) {
			return true
		}
	}
	return false
}

// FuzzSeal seals whatever headers there are, as a sender with the key may make them. What is sealed is opened at
// its last destination; what is not has changed nothing in the SA.
func FuzzSeal(f *testing.F) {
	rows := transform.AHIntegrities()
	for i, v := range scapyVectors(f) {
		f.Add(uint8(i), v.config.ESN, v.packet)
	}
	for i, options := range []string{"\x83\x0b\x04\x01\x01\x01\x01\x02\x02\x02\x02\x00", "\x94\x04\x00\x00\x07\x04\x04\x00"} {
		p, _ := makeIPv4(options, 64, []byte("payload"))
		f.Add(uint8(i), true, p)
	}
	for i, h := range []header{routing(0, 1, 1, 2), routing(2, 1, 1), routing(4, 1, 1), destination("\x01\x02\x00\x00\xc9\x10address of home!")} {
		p, _ := makeIPv6([]header{h}, 64, []byte("payload"))
		f.Add(uint8(i), false, p)
	}
	f.Fuzz(func(t *testing.T, which uint8, esn bool, packet []byte) {
		s, o := newPair(t, testConfig(rows[int(which)%len(rows)], esn))
		at, err := Locate(packet)
		if err != nil {
			at = 20
		}
		before := bytes.Clone(packet)
		if err := s.Seal(packet, at, ipwire.ProtoUDP); err != nil {
			switch err {
			case ErrShort, ErrNoAH, ErrFragment, ErrHeaders, ErrRouting, ErrNoSpace:
			default:
				t.Fatalf("%x: %v", before, err)
			}
			if s.Seq() != 0 {
				t.Fatalf("%x: %v, and a number is used up", before, err)
			}
			return
		}
		n := s.HeaderLen(ipwire.Version(packet))
		copy(before[at:at+n], packet[at:])
		if !bytes.Equal(before, packet) {
			t.Fatalf("sealing has made\n%x of\n%x", packet, before)
		}
		got, err := o.Open(travel(packet), at)
		if err != nil || got.Seq != 1 || got.HeaderLen != n || got.NextHeader != ipwire.ProtoUDP || !bytes.Equal(got.Payload, packet[at+n:]) {
			t.Fatalf("%x was opened as %+v, %v", packet, got, err)
		}
	})
}

// FuzzLocate finds an AH only where the headers say that it is.
func FuzzLocate(f *testing.F) {
	for _, v := range scapyVectors(f) {
		f.Add(v.packet)
	}
	p, _ := makeIPv6([]header{{ipwire.ProtoFragment, make([]byte, 6)}}, 24, nil)
	f.Add(p)
	f.Fuzz(func(t *testing.T, packet []byte) {
		at, err := Locate(packet)
		if err != nil {
			switch err {
			case ErrShort, ErrNoAH, ErrFragment, ErrHeaders:
			default:
				t.Fatalf("%x: %v", packet, err)
			}
			return
		}
		n, err := ipwire.DatagramLen(packet)
		if err != nil || at+12 > n {
			t.Fatalf("an AH at %d of %x, a datagram of %d bytes, %v", at, packet, n, err)
		}
		flow, err := ipwire.ParseFlow(packet)
		if err != nil || flow.Proto != ipwire.ProtoAH || flow.Fragment {
			t.Fatalf("%x: an AH at %d, and a flow %+v, %v", packet, at, flow, err)
		}
		if packet[0]>>4 == 6 {
			if u, err := ipwire.IPv6(packet[:n]).Upper(); err != nil || u.Offset != at {
				t.Fatalf("%x: an AH at %d, the upper layer at %d, %v", packet, at, u.Offset, err)
			}
		} else if at != int(packet[0]&15)*4 {
			t.Fatalf("%x: an AH at %d", packet, at)
		}
	})
}
