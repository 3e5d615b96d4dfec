package datagram

import "testing"

func TestCount(t *testing.T) {
	for _, c := range []struct{ length, segment, want int }{
		{0, 0, 1}, {10, 0, 1}, {10, 10, 1}, {10, 11, 1}, {10, -1, 1}, {10, 5, 2}, {11, 5, 3}, {10, 9, 2}, {10, 1, 10},
	} {
		if got := (&Packet{Data: make([]byte, c.length), Segment: c.segment}).Count(); got != c.want {
			t.Errorf("%d bytes by %d: %d, want %d", c.length, c.segment, got, c.want)
		}
	}
}
