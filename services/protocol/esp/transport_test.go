package esp

import (
	"bytes"
	"testing"
)

// Transport mode carries what the peer put there, whatever it is and however long it says it is.
func TestTransportMode(t *testing.T) {
	forEachSuite(t, func(t *testing.T, c Config) {
		c.Transport = true
		s, o := newPair(t, c)
		udp := make([]byte, 30)
		udp[5] = 12 // its length: the rest would be TFC padding
		for _, nextHeader := range []uint8{0, 1, NextHeaderIPv4, 6, 17, NextHeaderIPv6, 47, 50, 51, 58, NextHeaderDummy, 253, 255} {
			for _, payload := range [][]byte{nil, udp[:7], udp} {
				got, err := o.Open(mustSeal(t, s, payload, nextHeader))
				if err != nil || got.NextHeader != nextHeader || got.Seq != s.Seq() || !bytes.Equal(got.Payload, payload) {
					t.Errorf("next header %d, %d bytes: %+v, %v", nextHeader, len(payload), got, err)
				}
			}
		}
		p, err := s.SealTFC(make([]byte, 0, 256), udp, 17, 40)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := o.Open(p); err != nil || !bytes.Equal(got.Payload, append(bytes.Clone(udp), make([]byte, 40)...)) {
			t.Errorf("TFC padding: %+v, %v", got, err)
		}
		if _, err := o.Open(sealBody(t, s, append(bytes.Clone(udp), 9, 17))); err != ErrPadding && err != ErrAlignment {
			t.Errorf("bad padding: %v", err)
		}
	})
}

// Without a window a packet comes as often as it comes, and only its ICV counts.
func TestNoReplayWindow(t *testing.T) {
	c := testConfig(parseSuite(t, "aes128gcm16"), false)
	c.Window = -1
	s, o := newPair(t, c)
	inner, nextHeader := innerPacket(t, 4, 60)
	old, first := mustSeal(t, s, inner, nextHeader), mustSeal(t, s, inner, nextHeader)
	for n, packet := range [][]byte{first, first, old, first} {
		if got, err := o.Open(bytes.Clone(packet)); err != nil || !bytes.Equal(got.Payload, inner) || o.Top() != 2 {
			t.Errorf("packet %d: %+v, %v, top %d", n, got, err, o.Top())
		}
	}
	first[len(first)-1] ^= 1
	if _, err := o.Open(first); err != ErrICV {
		t.Errorf("forged: %v", err)
	}
}
