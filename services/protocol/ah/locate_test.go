package ah

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

func TestLocate(t *testing.T) {
	pad := "\x01\x04\x00\x00\x00\x00"
	v4 := func(options string, change func([]byte)) []byte {
		p, _ := makeIPv4(options, 24, []byte("payload"))
		change(p)
		return p
	}
	v6 := func(change func([]byte), headers ...header) []byte {
		p, _ := makeIPv6(headers, 24, []byte("payload"))
		change(p)
		return p
	}
	same := func([]byte) {}
	for name, tt := range map[string]struct {
		packet []byte
		at     int
		want   error
	}{
		"empty":                      {nil, 0, ErrShort},
		"version 5":                  {[]byte{0x50}, 0, ErrNoAH},
		"v4":                         {v4("", same), 20, nil},
		"v4, options":                {v4("\x94\x04\x00\x00\x01\x01\x01\x00", same), 28, nil},
		"v4, UDP":                    {v4("", func(p []byte) { p[9] = 17 }), 0, ErrNoAH},
		"v4, header of 16":           {v4("", func(p []byte) { p[0] = 0x44 }), 0, ErrHeaders},
		"v4, header beyond":          {v4("", func(p []byte) { p[0] = 0x4f }), 0, ErrShort},
		"v4, more fragments":         {v4("", func(p []byte) { p[6] |= 0x20 }), 0, ErrFragment},
		"v4, offset":                 {v4("", func(p []byte) { p[7] = 1 }), 0, ErrFragment},
		"v4, large offset":           {v4("", func(p []byte) { p[6] |= 0x10 }), 0, ErrFragment},
		"v4, another fragment":       {v4("", func(p []byte) { p[7], p[9] = 1, 17 }), 0, ErrFragment},
		"v4, total length of 31":     {v4("", func(p []byte) { p[3] = 31 }), 0, ErrShort},
		"v4, total length of 32":     {v4("", func(p []byte) { p[3] = 32 }), 20, nil},
		"v4, total length too large": {v4("", func(p []byte) { p[3]++ }), 0, ErrShort},
		"v6":                         {v6(same), 40, nil},
		"v6, hop-by-hop":             {v6(same, hopByHop(pad)), 48, nil},
		"v6, all":                    {v6(same, hopByHop(pad), destination(pad), routing(0, 1, 7), destination(pad)), 40 + 8 + 8 + 24 + 8, nil},
		"v6, routing of any type":    {v6(same, routing(99, 1, 7)), 64, nil},
		"v6, eight":                  {v6(same, slices.Repeat([]header{destination(pad)}, 8)...), 104, nil},
		"v6, nine":                   {v6(same, slices.Repeat([]header{destination(pad)}, 9)...), 0, ErrHeaders},
		"v6, hop-by-hop second":      {v6(same, destination(pad), hopByHop(pad)), 0, ErrHeaders},
		"v6, hop-by-hop twice":       {v6(same, hopByHop(pad), hopByHop(pad)), 0, ErrHeaders},
		"v6, whole in a fragment":    {v6(same, header{ipwire.ProtoFragment, make([]byte, 6)}), 0, ErrFragment},
		"v6, fragment later":         {v6(same, destination(pad), header{ipwire.ProtoFragment, make([]byte, 6)}), 0, ErrFragment},
		"v6, ESP":                    {v6(same, header{ipwire.ProtoESP, make([]byte, 6)}), 0, ErrNoAH},
		"v6, no next header":         {v6(func(p []byte) { p[40] = ipwire.ProtoNone }, destination(pad)), 0, ErrNoAH},
		"v6, long header":            {v6(func(p []byte) { p[41] = 200 }, destination(pad)), 0, ErrShort},
		"v6, payload length of 11":   {v6(func(p []byte) { p[5] = 11 }), 0, ErrShort},
		"v6, payload length of 12":   {v6(func(p []byte) { p[5] = 12 }), 40, nil},
		"v6, jumbogram":              {v6(func(p []byte) { p[5] = 0 }, hopByHop("\xc2\x04\x00\x01\x00\x00")), 0, ErrShort},
	} {
		if at, err := Locate(tt.packet); at != tt.at || err != tt.want {
			t.Errorf("%s: %d, %v, want %d, %v", name, at, err, tt.at, tt.want)
		}
		if tt.want != nil {
			continue
		}
		if at, err := Locate(append(bytes.Clone(tt.packet), "padding of a link"...)); at != tt.at || err != nil {
			t.Errorf("%s, bytes after it: %d, %v", name, at, err)
		}
		total, err := ipwire.DatagramLen(tt.packet)
		if err != nil {
			t.Fatal(err)
		}
		for n := range total {
			if _, err := Locate(tt.packet[:n]); err != ErrShort {
				t.Errorf("%s, %d of %d bytes: %v", name, n, total, err)
			}
		}
	}
}

func TestSPI(t *testing.T) {
	packet, at := makeIPv4("", 24, nil)
	for spi, want := range map[string]error{
		"\x00\x00\x00\x00": ErrReservedSPI, "\x00\x00\x00\xff": ErrReservedSPI, "\x00\x00\x01\x00": nil, "\xff\xff\xff\xff": nil,
	} {
		copy(packet[at+4:], spi)
		got, err := SPI(packet, at)
		if err != want || (err == nil) != (got >= MinSPI) {
			t.Errorf("%x: %#x, %v", spi, got, err)
		}
	}
	for _, bad := range []int{-1, len(packet) - 11, len(packet), 1 << 40} {
		if _, err := SPI(packet, bad); err != ErrShort {
			t.Errorf("at %d: %v", bad, err)
		}
	}
	if _, err := SPI([]byte(strings.Repeat("x", 11)), 0); err != ErrShort {
		t.Errorf("11 bytes: %v", err)
	}
}
