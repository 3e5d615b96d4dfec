package ikeid

import (
	"errors"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]ikewire.Identification{
		"192.0.2.1":         {Type: ikewire.IDIPv4Addr, Data: []byte{192, 0, 2, 1}},
		"2001:db8::1":       {Type: ikewire.IDIPv6Addr, Data: []byte{0x20, 1, 0xd, 0xb8, 15: 1}},
		"gw.example.org":    {Type: ikewire.IDFQDN, Data: []byte("gw.example.org")},
		"alice@example.org": {Type: ikewire.IDRFC822Addr, Data: []byte("alice@example.org")},
		"fqdn:192.0.2.1":    {Type: ikewire.IDFQDN, Data: []byte("192.0.2.1")},
		"keyid:@#0a0b":      {Type: ikewire.IDKeyID, Data: []byte{10, 11}},
		"dn:#3000":          {Type: ikewire.IDDERASN1DN, Data: []byte{0x30, 0}},
	} {
		id, err := Parse(text)
		if err != nil || !Equal(id, want) {
			t.Errorf("%s: %v, %v", text, id, err)
		}
		if Text(id) != text {
			t.Errorf("%s is written %s", text, Text(id))
		}
	}
	if id, err := Parse("@gw"); err != nil || Text(id) != "gw" {
		t.Errorf("@gw: %v, %v", id, err)
	}
	if id, err := Parse("keyid:office"); err != nil || string(id.Data) != "office" {
		t.Errorf("keyid: %v, %v", id, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "ipv4:2001:db8::1", "ipv4:x", "fe80::1%eth0", "@", "keyid:@#0", "keyid:", "dn:CN=x", "CN=x", "x:y", "a\nb"} {
		if id, err := Parse(text); !errors.Is(err, ErrID) {
			t.Errorf("%q: %v, %v", text, id, err)
		}
	}
}

func TestEqual(t *testing.T) {
	parse := func(s string) ikewire.Identification { id, _ := Parse(s); return id }
	if !Equal(parse("GW.example.org"), parse("gw.EXAMPLE.org")) {
		t.Error("names of hosts have no case")
	}
	if Equal(parse("fqdn:192.0.2.1"), parse("192.0.2.1")) || Equal(parse("Alice@example.org"), parse("alice@example.org")) {
		t.Error("types, or the local parts of mail addresses, are taken for the same")
	}
}
