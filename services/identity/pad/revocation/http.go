package revocation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"
)

// ErrFetch: a URL is not fetched, or not got.
var ErrFetch = errors.New("not fetched")

const (
	fetchTime  = 5 * time.Second
	maxFetches = 8 // at once
	maxURL     = 2048
)

// HTTP is the Fetcher of the daemon. It fetches
//
//   - http only, as RFC 5280 section 8 advises: what is fetched is signed, and https would need a CA first;
//   - from addresses of the public internet, and from those that the operator allows: never by itself from
//     loopback, private, link-local (cloud metadata), shared, multicast or reserved addresses. The address is
//     checked when the connection is made, so a name that resolves to another one later gains nothing;
//   - without following redirects, without proxies, without user names in the URL;
//   - in 5 seconds, 8 at once, and no more bytes than asked for.
type HTTP struct {
	client *http.Client
	slots  chan struct{}
}

// NewHTTP returns a fetcher that may also connect to the allowed prefixes, e.g. those of a CA inside.
func NewHTTP(allow []netip.Prefix) *HTTP {
	dialer := net.Dialer{Timeout: fetchTime, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		return mayConnect(allow, address)
	}}
	return &HTTP{slots: make(chan struct{}, maxFetches), client: &http.Client{
		Timeout:       fetchTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true, DisableCompression: true,
			ResponseHeaderTimeout: fetchTime, MaxResponseHeaderBytes: 16 << 10,
		},
	}}
}

// Fetch implements Fetcher. Error: ErrFetch.
func (h *HTTP) Fetch(ctx context.Context, rawURL string, post []byte, limit int) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrFetch, ctx.Err())
	}
	request, err := newRequest(ctx, rawURL, post)
	if err != nil {
		return nil, err
	}
	response, err := h.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: the server says %s; redirects are not followed", ErrFetch, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	if len(body) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrFetch, limit)
	}
	return body, nil
}

func newRequest(ctx context.Context, rawURL string, post []byte) (*http.Request, error) {
	u, err := url.Parse(rawURL)
	if err != nil || len(rawURL) > maxURL || u.Scheme != "http" || u.Host == "" || u.User != nil || u.Opaque != "" {
		return nil, fmt.Errorf("%w: %.100q: only plain http URLs are fetched", ErrFetch, rawURL)
	}
	method, body := http.MethodGet, io.Reader(nil)
	if post != nil {
		method, body = http.MethodPost, bytes.NewReader(post)
	}
	request, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	if post != nil {
		request.Header.Set("Content-Type", "application/ocsp-request")
	}
	request.Header.Set("User-Agent", "sallyport")
	return request, nil
}

// mayConnect judges an address that a name has resolved to.
func mayConnect(allow []netip.Prefix, address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: address %q", ErrFetch, address)
	}
	a := ap.Addr().Unmap()
	if slices.ContainsFunc(allow, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return nil
	}
	if !a.IsGlobalUnicast() || a.IsPrivate() || slices.ContainsFunc(reserved(), func(p netip.Prefix) bool { return p.Contains(a) }) {
		return fmt.Errorf("%w: %s is not an address of the public internet, and not one that the operator allows", ErrFetch, a)
	}
	return nil
}

// reserved are prefixes of IANA's special-purpose registries that netip does not tell from public ones,
// those through which IPv4 addresses can be reached included.
func reserved() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10", "::/96",
	} {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}
