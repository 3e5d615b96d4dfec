package plan

import (
	"errors"
	"net/netip"
	"testing"
)

func addrs(texts ...string) (as []netip.Addr) {
	for _, text := range texts {
		as = append(as, netip.MustParseAddr(text))
	}
	return as
}

func endpoints(texts ...string) (es []netip.AddrPort) {
	for _, text := range texts {
		if ap, err := netip.ParseAddrPort(text); err == nil {
			es = append(es, ap)
		} else {
			es = append(es, netip.AddrPortFrom(netip.MustParseAddr(text), 0))
		}
	}
	return es
}

func TestPathOf(t *testing.T) {
	observed := func(o string, underlay ...string) Host {
		return Host{Name: "x", Observed: netip.MustParseAddr(o), Underlay: addrs(underlay...)}
	}
	nat := func(h Host) Host {
		h.BehindNAT = true
		return h
	}
	at := func(h Host, es ...string) Host {
		h.Endpoints = endpoints(es...)
		return h
	}
	port := func(h Host, p uint16) Host {
		h.ESPPort = p
		return h
	}
	four, six := observed("192.0.2.1", "192.0.2.1"), observed("2001:db8::1", "2001:db8::1")
	dual := observed("2001:db8::2", "2001:db8::2", "198.51.100.2")
	for name, test := range map[string]struct {
		a, b     Host
		toA, toB string // "" for none
		err      error
	}{
		"both seen":                      {four, observed("192.0.2.2"), "192.0.2.1:4500", "192.0.2.2:4500", nil},
		"own port":                       {port(four, 4501), observed("192.0.2.2"), "192.0.2.1:4501", "192.0.2.2:4500", nil},
		"mapped address":                 {observed("::ffff:192.0.2.1"), observed("192.0.2.2"), "192.0.2.1:4500", "192.0.2.2:4500", nil},
		"endpoint first":                 {at(four, "203.0.113.1"), observed("192.0.2.2"), "203.0.113.1:4500", "192.0.2.2:4500", nil},
		"endpoint with port":             {at(port(four, 4501), "203.0.113.1:9"), observed("192.0.2.2"), "203.0.113.1:9", "192.0.2.2:4500", nil},
		"one behind NAT":                 {nat(observed("192.0.2.1", "10.0.0.5")), observed("192.0.2.2"), "", "192.0.2.2:4500", nil},
		"other one behind NAT":           {four, nat(observed("192.0.2.9", "10.0.0.5")), "192.0.2.1:4500", "", nil},
		"both behind NAT":                {nat(four), nat(observed("192.0.2.2")), "", "", ErrBothBehindNAT},
		"both behind NAT, one forwarded": {nat(at(four, "203.0.113.1:7")), nat(observed("192.0.2.2")), "203.0.113.1:7", "", nil},
		"no common family":               {four, six, "", "", ErrNoCommonFamily},
		"public address of the other":    {four, dual, "192.0.2.1:4500", "198.51.100.2:4500", nil},
		"private address of the other":   {four, observed("2001:db8::2", "10.0.0.2", "100.64.0.1"), "192.0.2.1:4500", "", nil},
		"sixes":                          {six, dual, "[2001:db8::1]:4500", "[2001:db8::2]:4500", nil},
		"endpoint only":                  {Host{Name: "x", Endpoints: endpoints("192.0.2.7")}, four, "192.0.2.7:4500", "192.0.2.1:4500", nil},
		"family of the endpoint":         {at(dual, "198.51.100.9"), observed("2001:db8::3", "2001:db8::3", "198.51.100.3"), "198.51.100.9:4500", "198.51.100.3:4500", nil},
		"nothing known":                  {Host{Name: "x"}, four, "", "", ErrNoAddress},
		"overlay is no underlay":         {four, Host{Name: "x", Observed: netip.MustParseAddr("2001:db8::1"), Underlay: addrs("198.18.0.1"), Addresses: addrs("198.18.0.1")}, "", "", ErrNoCommonFamily},
		"v4 behind NAT, v6 open":         {nat(observed("192.0.2.1", "10.0.0.5")), observed("2001:db8::1"), "", "", ErrNoCommonFamily},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := PathOf(&test.a, &test.b)
			if !errors.Is(err, test.err) {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			chosen := err == nil
			if p.ABehindNAT != (test.a.BehindNAT || chosen && test.toA == "") || p.BBehindNAT != (test.b.BehindNAT || chosen && test.toB == "") {
				t.Errorf("NAT flags %v %v", p.ABehindNAT, p.BBehindNAT)
			}
			for _, end := range []struct {
				got  netip.AddrPort
				want string
			}{{p.ToA, test.toA}, {p.ToB, test.toB}} {
				if want, _ := netip.ParseAddrPort(end.want); end.got != want {
					t.Errorf("path %+v, want to A %q, to B %q", p, test.toA, test.toB)
				}
			}
			back, _ := PathOf(&test.b, &test.a)
			if back.ToA != p.ToB || back.ToB != p.ToA {
				t.Errorf("seen from the other end it is another path: %+v, %+v", p, back)
			}
		})
	}
}
