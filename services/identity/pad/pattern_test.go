package pad_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

func TestParsePattern(t *testing.T) {
	for in, want := range map[string]string{
		"any": "any", "null:": "null:", "192.0.2.1": "ipv4:192.0.2.1", "ipv4:192.0.2.0/24": "ipv4:192.0.2.0/24",
		"2001:db8::1": "ipv6:2001:db8::1", "ipv6:2001:db8::/32": "ipv6:2001:db8::/32", "IPv6:::1": "ipv6:::1",
		"GW.Example.": "fqdn:gw.example", "@gw": "fqdn:gw", "*.example": "fqdn:*.example", "fqdn:192.0.2.1": "fqdn:192.0.2.1",
		"Ops@GW.Example": "rfc822:Ops@gw.example", "*@gw.example": "rfc822:*@gw.example", "email:a@b": "rfc822:a@b",
		"C=CH, O=x, CN=*": "dn:C=CH,O=x,CN=*", "asn1dn:CN=a@b": "dn:CN=a@b", "keyid:k 1": "keyid:0x6b2031", "keyid:k1": "keyid:k1",
		"keyid:0x00FF": "keyid:0x00ff", "keyid:0x3078": "keyid:0x3078",
	} {
		p := pattern(t, in)
		if p.String() != want {
			t.Errorf("%q is %s, want %s", in, p, want)
		}
		if again := pattern(t, want); !again.Covers(p) || !p.Covers(again) {
			t.Errorf("%s is read again as %s", want, again)
		}
	}
	for _, in := range []string{
		"", ":", "any:x", "null", "null:x", "ipv4:2001:db8::1", "ipv6:192.0.2.1", "ipv4:192.0.2.1/24", "ipv4:x", "ipv6:fe80::1%eth0",
		"::ffff:192.0.2.1", "fqdn:", "fqdn:*", "fqdn:a*.b", "fqdn:*.*.b", "fqdn:a..b", "fqdn:.a", "fqdn:a b", "fqdn:a\x00b", "fqdn:ü",
		"rfc822:a", "rfc822:@a", "rfc822:a@", "rfc822:*a@b", "dn:", "dn:a", "keyid:", "keyid:0x0", "a@b@", "fqdn:" + strings.Repeat("a", 256),
		"keyid:" + strings.Repeat("a", 2000), "gw:500",
	} {
		if p, err := pad.ParsePattern(in); !errors.Is(err, pad.ErrIdentity) {
			t.Errorf("%q is read as %s, %v", in, p, err)
		}
	}
}

func TestParseIdentity(t *testing.T) {
	for in, want := range map[string]ikewire.Identification{
		"192.0.2.1": {Type: ikewire.IDIPv4Addr, Data: []byte{192, 0, 2, 1}}, "gw.example": {Type: ikewire.IDFQDN, Data: []byte("gw.example")},
		"a@b": {Type: ikewire.IDRFC822Addr, Data: []byte("a@b")}, "keyid:0x00": {Type: ikewire.IDKeyID, Data: []byte{0}},
		"null:": {Type: ikewire.IDNull}, "CN=gw": {Type: ikewire.IDDERASN1DN, Data: []byte("0\x0d1\x0b0\x09\x06\x03\x55\x04\x03\x0c\x02gw")},
	} {
		got := identity(t, in)
		if got.Type != want.Type || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("%q is %s %x", in, got.Type, got.Data)
		}
		if !pad.SameIdentity(identity(t, pad.FormatIdentity(got)), got) {
			t.Errorf("%q is written as %s", in, pad.FormatIdentity(got))
		}
	}
	for _, in := range []string{"any", "*.example", "*@b", "192.0.2.0/24", "CN=*", "x y"} {
		if got, err := pad.ParseIdentity(in); !errors.Is(err, pad.ErrIdentity) {
			t.Errorf("%q is one identity: %s, %v", in, got, err)
		}
	}
}

// TestSets: which pattern has which in it.
func TestSets(t *testing.T) {
	ordered := [][]string{ // each has the next in it
		{"any", "fqdn:*.example", "fqdn:*.a.example", "fqdn:b.a.example"},
		{"any", "ipv4:0.0.0.0/0", "ipv4:192.0.2.0/24", "ipv4:192.0.2.1"},
		{"any", "ipv6:::/0", "ipv6:2001:db8::/32", "ipv6:2001:db8::1"},
		{"any", "rfc822:*@example", "rfc822:a@example"},
		{"any", "dn:CN=*,O=*", "dn:CN=*,O=x", "dn:CN=a,O=x"},
		{"any", "keyid:a"},
		{"null:"},
	}
	for i, chain := range ordered {
		for j, s := range chain {
			p := pattern(t, s)
			for k, other := range chain {
				if q := pattern(t, other); p.Covers(q) != (j <= k) || !p.Overlaps(q) {
					t.Errorf("%s has %s in it: %v, overlaps: %v", p, q, p.Covers(q), p.Overlaps(q))
				}
			}
			for k, stranger := range ordered {
				q := pattern(t, stranger[len(stranger)-1])
				if k != i && p.Covers(q) != (s == "any" && q.String() != "null:") {
					t.Errorf("%s has %s in it: %v", p, q, p.Covers(q))
				}
			}
		}
	}
	for _, c := range [][2]string{{"fqdn:*.example", "fqdn:example"}, {"fqdn:*.example", "fqdn:aexample"}, {"rfc822:*@example", "rfc822:a@b.example"},
		{"fqdn:a", "keyid:a"}, {"ipv4:0.0.0.0/0", "ipv6:::1"}} {
		p, q := pattern(t, c[0]), pattern(t, c[1])
		if p.Covers(q) || q.Covers(p) || p.Overlaps(q) {
			t.Errorf("%s and %s have to do with each other", p, q)
		}
	}
	var none pad.Pattern
	if none.Covers(none) || none.Overlaps(pad.AnyIdentity()) || pad.AnyIdentity().Covers(none) || none.Match(identity(t, "gw")) || none.String() != "none" {
		t.Error("the empty pattern has something in it")
	}
	if p, q := pattern(t, "CN=*,O=x"), pattern(t, "CN=a,O=*"); p.Covers(q) || q.Covers(p) || !p.Overlaps(q) {
		t.Error("two DNs do not overlap in part")
	}
}

func FuzzIdentity(f *testing.F) {
	f.Add(uint8(ikewire.IDFQDN), []byte("gw.example"))
	f.Add(uint8(ikewire.IDRFC822Addr), []byte("a@b"))
	f.Add(uint8(ikewire.IDDERASN1DN), []byte("0\x0d1\x0b0\x09\x06\x03\x55\x04\x03\x0c\x02gw"))
	f.Add(uint8(ikewire.IDIPv4Addr), []byte{1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		id := ikewire.Identification{Type: ikewire.IDType(kind), Data: data}
		if !pad.SameIdentity(id, id) {
			return // not well-formed
		}
		again, err := pad.ParseIdentity(pad.FormatIdentity(id))
		if err != nil || !pad.SameIdentity(again, id) {
			t.Fatalf("%s is written as %s, %v", id, pad.FormatIdentity(id), err)
		}
		if id.Type != ikewire.IDNull && !pad.AnyIdentity().Match(id) {
			t.Fatalf("%s is not any", id)
		}
	})
}
