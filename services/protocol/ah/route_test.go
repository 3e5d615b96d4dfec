package ah

import (
	"bytes"
	"testing"
)

// Datagrams with routes are opened at the last destination, and only there.
func TestRoutes(t *testing.T) {
	pad := "\x01\x04\x00\x00\x00\x00"
	for name, tt := range map[string]struct {
		options string
		headers []header
	}{
		"loose":                  {options: "\x83\x0b\x04\x01\x01\x01\x01\x02\x02\x02\x02\x00"},
		"strict, behind others":  {options: "\x94\x04\x00\x00\x01\x89\x07\x04\x02\x02\x02\x02"},
		"loose, half made":       {options: "\x83\x0f\x08\x01\x01\x01\x01\x02\x02\x02\x02\x03\x03\x03\x03\x01"},
		"type 0":                 {headers: []header{routing(0, 3, 1, 2, 3)}},
		"type 0, half made":      {headers: []header{routing(0, 2, 1, 2, 3, 4)}},
		"type 0, behind others":  {headers: []header{hopByHop(pad), destination(pad), routing(0, 1, 1), destination(pad)}},
		"type 0 twice":           {headers: []header{routing(0, 2, 1, 2), routing(0, 1, 3)}},
		"type 2":                 {headers: []header{routing(2, 1, 1)}},
		"type 0, 127 addresses":  {headers: []header{routing(0, 127, bytes.Repeat([]byte{9}, 127)...)}},
		"type 0, different ends": {headers: []header{routing(0, 2, 0x30, 0x30)}},
	} {
		c := testConfig(integrity(t, "sha256"), false)
		s, o := newPair(t, c)
		var p []byte
		var at int
		if tt.headers == nil {
			p, at = sealIPv4(t, s, tt.options, []byte("payload"))
		} else {
			p, at = sealIPv6(t, s, tt.headers, []byte("payload"))
		}
		arrived := travel(p)
		want := ErrICV
		if tt.headers != nil {
			want = ErrRouting
		}
		if _, err := o.Open(p, at); err != want || o.Top() != 0 {
			t.Errorf("%s, at the first hop: %v, want %v", name, err, want)
		}
		got, err := o.Open(arrived, at)
		if err != nil || string(got.Payload) != "payload" {
			t.Errorf("%s, at the last destination: %v", name, err)
		}
		_, o = newPair(t, c)
		dst := 19
		if tt.headers != nil {
			dst = 39
		}
		arrived[dst] ^= 1
		if _, err := o.Open(arrived, at); err != ErrICV {
			t.Errorf("%s, at another destination: %v", name, err)
		}
	}
}

// What an attacker writes into a source route, which nothing protects, is not taken for the destination.
func TestRouteIsNotTheDestination(t *testing.T) {
	s, o := newPair(t, testConfig(integrity(t, "sha256"), false))
	p, at := sealIPv4(t, s, "\x83\x07\x08\x01\x02\x03\x04\x00", nil)
	forged := bytes.Clone(p)
	copy(forged[20:], "\x83\x07\x04")
	copy(forged[23:27], p[16:20])
	forged[19]++
	if _, err := o.Open(forged, at); err != ErrICV {
		t.Errorf("with the destination in the route: %v", err)
	}
}

// RFC 6275 sections 9.3.1 and 11.3.2: computed as if the home address were the source, and the option had the
// care-of address. So it is the ICV of the datagram that has them so.
func TestHomeAddress(t *testing.T) {
	c := testConfig(integrity(t, "sha256"), false)
	s, o := newPair(t, c)
	home := "address of home!"
	p, at := sealIPv6(t, s, []header{destination("\x01\x02\x00\x00\xc9\x10" + home)}, []byte("payload"))
	if got, err := o.Open(p, at); err != nil || string(got.Payload) != "payload" {
		t.Errorf("%+v, %v", got, err)
	}
	covered := bytes.Clone(p)
	careOf := bytes.Clone(p[8:24])
	copy(covered[8:], home)
	copy(covered[48:], careOf)
	covered[0], covered[1], covered[2], covered[3], covered[7] = 0x60, 0, 0, 0, 0
	clear(covered[at+12 : at+28])
	mac, err := c.Integrity.NewMAC(c.Keymat)
	if err != nil {
		t.Fatal(err)
	}
	mac.Write(covered)
	if !mac.Verify(p[at+12 : at+28]) {
		t.Error("the ICV is over something else")
	}
}
