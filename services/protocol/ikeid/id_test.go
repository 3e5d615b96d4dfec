package ikeid

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net/netip"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

func TestText(t *testing.T) {
	name, err := asn1.Marshal(pkix.Name{CommonName: "gw", Organization: []string{"Example"}}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	for want, id := range map[string]ikewire.Identification{
		"":                  {},
		"192.0.2.1":         {Type: ikewire.IDIPv4Addr, Data: []byte{192, 0, 2, 1}},
		"2001:db8::1":       {Type: ikewire.IDIPv6Addr, Data: []byte{0x20, 1, 0xd, 0xb8, 15: 1}},
		"gw.example.org":    {Type: ikewire.IDFQDN, Data: []byte("gw.example.org")},
		"alice@example.org": {Type: ikewire.IDRFC822Addr, Data: []byte("alice@example.org")},
		"keyid:office":      {Type: ikewire.IDKeyID, Data: []byte("office")},
		"keyid:0x0a0b":      {Type: ikewire.IDKeyID, Data: []byte{10, 11}},
		"CN=gw,O=Example":   {Type: ikewire.IDDERASN1DN, Data: name},
		"ID_DER_ASN1_DN 30": {Type: ikewire.IDDERASN1DN, Data: []byte{0x30}},
		`ID_FQDN "a\nb"`:    {Type: ikewire.IDFQDN, Data: []byte("a\nb")},
		"ID_IPV4_ADDR 01":   {Type: ikewire.IDIPv4Addr, Data: []byte{1}},
	} {
		if got := Text(id); got != want {
			t.Errorf("%v is written %q, want %q", id, got, want)
		}
	}
}

func TestOfAddr(t *testing.T) {
	for text, want := range map[string]ikewire.IDType{"192.0.2.1": ikewire.IDIPv4Addr, "::ffff:192.0.2.1": ikewire.IDIPv4Addr, "2001:db8::1": ikewire.IDIPv6Addr} {
		if id, err := OfAddr(netip.MustParseAddr(text)); err != nil || id.Type != want {
			t.Errorf("%s: %v, %v", text, id, err)
		}
	}
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("fe80::1%eth0")} {
		if _, err := OfAddr(a); !errors.Is(err, ErrAddr) {
			t.Errorf("%v: %v", a, err)
		}
	}
}

func TestEqual(t *testing.T) {
	name := func(s string) ikewire.Identification {
		return ikewire.Identification{Type: ikewire.IDFQDN, Data: []byte(s)}
	}
	mail := func(s string) ikewire.Identification {
		return ikewire.Identification{Type: ikewire.IDRFC822Addr, Data: []byte(s)}
	}
	address, _ := OfAddr(netip.MustParseAddr("192.0.2.1"))
	if !Equal(name("GW.example.org"), name("gw.EXAMPLE.org")) {
		t.Error("names of hosts have no case")
	}
	if Equal(name("192.0.2.1"), address) || Equal(mail("Alice@example.org"), mail("alice@example.org")) {
		t.Error("types, or the local parts of mail addresses, are taken for the same")
	}
}
