package ipseckey

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/identity/pad/padtest"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rfcKey is the key of RFC 4025 section 3.2's examples.
const rfcKey = "AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="

// TestRecordsOfTheRFC: the five examples of RFC 4025 section 3.2, in wire form.
func TestRecordsOfTheRFC(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString(rfcKey)
	if err != nil {
		t.Fatal(err)
	}
	mygateway := append([]byte("\x09mygateway\x07example\x03com\x00"), key...)
	for name, c := range map[string]struct {
		data []byte
		want Record
	}{
		"gateway 192.0.2.38": {append([]byte{10, 1, 2, 192, 0, 2, 38}, key...),
			Record{10, IPv4Gateway, RSA, netip.MustParseAddr("192.0.2.38"), "", key}},
		"no gateway": {append([]byte{10, 0, 2}, key...), Record{10, NoGateway, RSA, netip.Addr{}, "", key}},
		"gateway mygateway.example.com": {append([]byte{10, 3, 2}, mygateway...),
			Record{10, NameGateway, RSA, netip.Addr{}, "mygateway.example.com", key}},
		"gateway 2001:db8:0:8002::2000:1": {append(unhex(t, "0a0202 20010db8 00008002 00000000 20000001"), key...),
			Record{10, IPv6Gateway, RSA, netip.MustParseAddr("2001:db8:0:8002::2000:1"), "", key}},
		"no key": {[]byte{10, 0, 0}, Record{Precedence: 10}},
	} {
		got, err := ParseRecord(c.data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Type != c.want.Type || got.Addr != c.want.Addr || got.Name != c.want.Name || !bytes.Equal(got.PublicKey, c.want.PublicKey) {
			t.Errorf("%s: %+v", name, got)
		}
		if again, err := got.Append(nil); err != nil || !bytes.Equal(again, c.data) {
			t.Errorf("%s gives %x, %v", name, again, err)
		}
		if len(c.want.PublicKey) == 0 {
			continue
		}
		k, err := got.Key()
		if rsa, ok := k.(*rsa.PublicKey); err != nil || !ok || rsa.E != 3 || rsa.N.BitLen() != 255 {
			t.Errorf("%s: key %v, %v", name, k, err)
		}
		for n := range len(c.data) - len(key) + 1 {
			if _, err := ParseRecord(c.data[:n]); !errors.Is(err, ErrRecord) {
				t.Errorf("%d bytes of %s: %v", n, name, err)
			}
		}
	}
}

// TestCVE_2013_2053_DNSKeyOverflow: Libreswan copied a key from DNS behind a buffer. Every length is bounded.
func TestCVE_2013_2053_DNSKeyOverflow(t *testing.T) {
	for name, data := range map[string]string{
		"key above the bound":           "000002" + strings.Repeat("55", maxKeyBytes+1),
		"gateway label above its data":  "000302" + "3f6161",
		"gateway with compression":      "000302" + "c000" + "0103ff",
		"gateway with a dot in a label": "000302" + "03612e6200" + "0103ff",
		"gateway with NUL in a label":   "000302" + "0361006200" + "0103ff",
		"gateway of 256 bytes":          "000302" + strings.Repeat("3f"+strings.Repeat("61", 63), 4) + "00" + "0103ff",
		"gateway type 4":                "000402" + "0103ff",
		"key without algorithm":         "000000" + "0103ff",
		"algorithm without key":         "000002",
	} {
		if r, err := ParseRecord(unhex(t, data)); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestKeysRefused(t *testing.T) {
	for name, c := range map[string]struct {
		algorithm Algorithm
		key       string
	}{
		"RSA, exponent's length is all":     {RSA, "01"},
		"RSA, exponent above the key":       {RSA, "0503ff"},
		"RSA, no modulus":                   {RSA, "0103"},
		"RSA, long form, exponent empty":    {RSA, "000000ff"},
		"RSA, long form for a short length": {RSA, "00000103ff"},
		"RSA, long form cut":                {RSA, "0001"},
		"RSA, exponent of 40 bits":          {RSA, "050100000001ff"},
		"RSA, exponent zero":                {RSA, "0100ff"},
		"RSA, modulus with a zero":          {RSA, "010300ff"},
		"ECDSA, odd length":                 {ECDSA, strings.Repeat("01", 65)},
		"ECDSA, not on the curve":           {ECDSA, strings.Repeat("01", 64)},
		"ECDSA, point zero":                 {ECDSA, strings.Repeat("00", 96)},
		"EdDSA, Ed448":                      {EdDSA, strings.Repeat("01", 57)},
		"EdDSA, short":                      {EdDSA, strings.Repeat("01", 31)},
		"DSA":                               {DSA, "01"},
		"algorithm 5":                       {5, "01"},
	} {
		if k, err := (Record{Algorithm: c.algorithm, PublicKey: unhex(t, c.key)}).Key(); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
}

// keys are one of each kind that IPSECKEY can publish.
func keys(t testing.TB) map[Algorithm][]crypto.PublicKey {
	t.Helper()
	all := map[Algorithm][]crypto.PublicKey{}
	for kind, a := range map[string]Algorithm{"rsa2048": RSA, "p256": ECDSA, "p384": ECDSA, "ed25519": EdDSA} {
		all[a] = append(all[a], padtest.Key(t, kind).Public())
	}
	return all
}

func TestKeysRoundTrip(t *testing.T) {
	for algorithm, all := range keys(t) {
		for _, k := range all {
			a, raw, err := Encode(k)
			if err != nil || a != algorithm {
				t.Fatalf("%T: %d, %v", k, a, err)
			}
			got, err := Record{Algorithm: a, PublicKey: raw}.Key()
			if equal, ok := k.(interface{ Equal(crypto.PublicKey) bool }); err != nil || !ok || !equal.Equal(got) {
				t.Errorf("%T: %v, %v", k, got, err)
			}
		}
	}
	if _, _, err := Encode("key"); !errors.Is(err, ErrRecord) {
		t.Errorf("a string is a key: %v", err)
	}
}

func TestOwners(t *testing.T) {
	for in, want := range map[string]string{"GW.Example.": "gw.example", "a_b.c-d.net": "a_b.c-d.net"} {
		if got, err := OwnerOfName(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"", ".", "gw", "gw..example", "gw.exam ple", "*.example", "a\x00.example", "gw.example..",
		strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127) + "example"} {
		if got, err := OwnerOfName(in); !errors.Is(err, ErrName) {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	// RFC 4025 section 3.2 and RFC 3596 section 2.5.
	for in, want := range map[string]string{
		"192.0.2.38":              "38.2.0.192.in-addr.arpa",
		"4321:0:1:2:3:4:567:89ab": "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa",
	} {
		if got, err := OwnerOfAddr(netip.MustParseAddr(in)); err != nil || got != want {
			t.Errorf("%s: %q, %v", in, got, err)
		}
	}
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("::ffff:192.0.2.1")} {
		if got, err := OwnerOfAddr(a); !errors.Is(err, ErrName) {
			t.Errorf("%s: %q, %v", a, got, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	key, _ := base64.StdEncoding.DecodeString(rfcKey)
	f.Add(append([]byte{10, 1, 2, 192, 0, 2, 38}, key...))
	f.Add(append([]byte("\x0a\x03\x02\x01a\x07example\x00"), key...))
	f.Add(append([]byte{10, 0, 3}, make([]byte, 64)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRecord(data)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatal(err)
			}
			return
		}
		if again, err := r.Append(nil); err != nil || !strings.EqualFold(string(again), string(data)) && !bytes.Equal(again, data) {
			t.Fatalf("%x is written as %x, %v", data, again, err)
		}
		if k, err := r.Key(); err == nil {
			a, raw, err := Encode(k)
			if err != nil || a != r.Algorithm || !bytes.Equal(raw, r.PublicKey) {
				t.Fatalf("%x is encoded as %d %x, %v", data, a, raw, err)
			}
		}
	})
}
