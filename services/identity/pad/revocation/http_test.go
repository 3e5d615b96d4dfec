package revocation

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func loopback() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

func TestFetch(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /crl", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("0123456789")) })
	mux.HandleFunc("POST /ocsp", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") == "application/ocsp-request" {
			_, _ = w.Write([]byte("answer"))
		}
	})
	mux.Handle("GET /moved", http.RedirectHandler("/crl", http.StatusFound))
	server := httptest.NewServer(mux)
	defer server.Close()
	inside := NewHTTP(loopback())
	for name, c := range map[string]struct {
		url  string
		post []byte
		n    int
		want string // "" means refused
	}{
		"GET":            {server.URL + "/crl", nil, 10, "0123456789"},
		"POST":           {server.URL + "/ocsp", []byte{1}, 10, "answer"},
		"too long":       {server.URL + "/crl", nil, 9, ""},
		"redirect":       {server.URL + "/moved", nil, 10, ""},
		"not there":      {server.URL + "/x", nil, 10, ""},
		"https":          {strings.Replace(server.URL, "http:", "https:", 1) + "/crl", nil, 10, ""},
		"file":           {"file:///etc/passwd", nil, 10, ""},
		"ldap":           {"ldap://ca.example/cn=x", nil, 10, ""},
		"user":           {strings.Replace(server.URL, "//", "//u:p@", 1) + "/crl", nil, 10, ""},
		"opaque":         {"http:crl", nil, 10, ""},
		"no URL":         {"\x00", nil, 10, ""},
		"nobody listens": {"http://127.0.0.1:1/", nil, 10, ""},
		"long URL":       {server.URL + "/crl?" + strings.Repeat("a", maxURL), nil, 10, ""},
	} {
		got, err := inside.Fetch(t.Context(), c.url, c.post, c.n)
		if string(got) != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, ErrFetch) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if got, err := NewHTTP(nil).Fetch(t.Context(), server.URL+"/crl", nil, 10); !errors.Is(err, ErrFetch) {
		t.Errorf("loopback is fetched from: %q, %v", got, err)
	}
	if got, err := NewHTTP(nil).Fetch(t.Context(), strings.Replace(server.URL, "127.0.0.1", "localhost", 1)+"/crl", nil, 10); !errors.Is(err, ErrFetch) {
		t.Errorf("a name of loopback is fetched from: %q, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := inside.Fetch(ctx, server.URL+"/crl", nil, 10); err == nil || !bytes.Equal(got, nil) {
		t.Errorf("cancelled: %q, %v", got, err)
	}
}

func TestMayConnect(t *testing.T) {
	for address, want := range map[string]bool{
		"8.8.8.8:80": true, "[2606:4700::1]:80": true, "10.1.2.3:80": false, "172.16.0.1:80": false, "192.168.1.1:80": false,
		"127.0.0.1:80": false, "[::1]:80": false, "169.254.169.254:80": false, "[fe80::1]:80": false, "[fd00:ec2::254]:80": false,
		"0.0.0.0:80": false, "[::]:80": false, "224.0.0.1:80": false, "[ff02::1]:80": false, "255.255.255.255:80": false, "100.64.0.1:80": false,
		"[::ffff:127.0.0.1]:80": false, "[::ffff:10.0.0.1]:80": false, "[64:ff9b::7f00:1]:80": false, "[2002:7f00:1::]:80": false,
		"[::127.0.0.1]:80": false, "192.0.2.1:80": false, "junk": false,
	} {
		if err := mayConnect(nil, address); (err == nil) != want || err != nil && !errors.Is(err, ErrFetch) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := mayConnect(loopback(), "[::ffff:127.0.0.1]:80"); err != nil {
		t.Errorf("an allowed address in IPv6 clothes: %v", err)
	}
}
