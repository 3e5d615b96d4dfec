package enrol_test

import (
	"crypto/x509"
	"errors"
	"net/url"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/enrol"
)

func TestNameRoundTrip(t *testing.T) {
	for _, want := range []enrol.Name{
		{TrustDomain: "fleet.example", Kind: enrol.KindHost, Name: "web-1"},
		{TrustDomain: "f", Kind: enrol.KindOperator, Name: "a.b"},
		{TrustDomain: strings.Repeat("a", 253), Kind: enrol.KindController, Name: strings.Repeat("b", 63)},
	} {
		got, err := enrol.ParseName(want.String())
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v", want, got, err)
		}
	}
}

func TestNameStrict(t *testing.T) {
	for _, uri := range []string{
		"", "spiffe://", "spiffe://fleet", "spiffe://fleet/", "spiffe://fleet/host", "spiffe://fleet/host/",
		"spiffe:///host/a", "https://fleet/host/a", "SPIFFE://fleet/host/a", "spiffe:/fleet/host/a",
		"spiffe://fleet/host/a/", "spiffe://fleet/host/a/b", "spiffe://fleet//a", "spiffe://fleet/user/a",
		"spiffe://fleet/Host/a", "spiffe://fleet/host/A", "spiffe://Fleet/host/a", "spiffe://fleet:443/host/a",
		"spiffe://u@fleet/host/a", "spiffe://fleet/host/a?x", "spiffe://fleet/host/a#x", "spiffe://fleet/host/a%41",
		"spiffe://fleet/host/.a", "spiffe://fleet/host/a-", "spiffe://fleet/host/..", "spiffe://fleet/host/a b",
		"spiffe://fleet/host/a\x00", "spiffe://fleet/host/" + strings.Repeat("a", 64),
		"spiffe://" + strings.Repeat("a", 254) + "/host/a", "spiffe://-f/host/a", "spiffe://f/host/" + strings.Repeat("a", 1<<16),
	} {
		if n, err := enrol.ParseName(uri); !errors.Is(err, enrol.ErrName) {
			t.Errorf("%.80q: got %v, %v", uri, n, err)
		}
	}
}

func TestNameOfCertificate(t *testing.T) {
	uri := func(s string) *url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	good := uri("spiffe://fleet/host/a")
	cases := []struct {
		name string
		cert x509.Certificate
		ok   bool
	}{
		{"one", x509.Certificate{URIs: []*url.URL{good}}, true},
		{"none", x509.Certificate{}, false},
		{"two", x509.Certificate{URIs: []*url.URL{good, uri("spiffe://fleet/host/b")}}, false},
		{"another scheme beside it", x509.Certificate{URIs: []*url.URL{good, uri("https://example.com/")}}, false},
		{"a CA", x509.Certificate{URIs: []*url.URL{good}, IsCA: true}, false},
		{"an escape", x509.Certificate{URIs: []*url.URL{uri("spiffe://fleet/host/%61")}}, false},
		{"an empty query", x509.Certificate{URIs: []*url.URL{uri("spiffe://fleet/host/a?")}}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			n, err := enrol.NameOf(&c.cert)
			if (err == nil) != c.ok || err == nil && n.Name != "a" {
				t.Errorf("got %v, %v", n, err)
			}
		})
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("spiffe://fleet.example/host/web-1")
	f.Add("spiffe://fleet.example/operator/root")
	f.Fuzz(func(t *testing.T, uri string) {
		n, err := enrol.ParseName(uri)
		if err == nil && n.String() != uri {
			t.Errorf("%q is read as %q", uri, n)
		}
	})
}
