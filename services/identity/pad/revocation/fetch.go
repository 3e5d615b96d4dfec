package revocation

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Fetcher gets a URL: by POST of an OCSP request, or by GET when post is nil. It returns at most limit bytes,
// or an error for more.
type Fetcher interface {
	Fetch(ctx context.Context, url string, post []byte, limit int) ([]byte, error)
}

// byCRL fetches, or remembers, the CRL at a distribution point.
func (c *Checker) byCRL(ctx context.Context, url string, cert, issuer *x509.Certificate, now time.Time) (status, error) {
	crl, err := recall(ctx, c, &c.crls, url, now, func(ctx context.Context) (*CRL, time.Time, error) {
		der, err := c.fetch.Fetch(ctx, url, nil, maxCRLBytes)
		if err != nil {
			return nil, time.Time{}, err
		}
		crl, err := ParseCRL(der)
		if err != nil {
			return nil, time.Time{}, err
		}
		if !now.Before(crl.NextUpdate()) { // it still tells what was revoked; a newer one is asked for soon
			return crl, now.Add(failureLife), nil
		}
		return crl, life(now, crl.NextUpdate()), nil
	})
	if err != nil {
		return unknown, err
	}
	return crl.status(cert, issuer, now)
}

// byOCSP asks the responder, or remembers what it said.
func (c *Checker) byOCSP(ctx context.Context, url string, cert, issuer *x509.Certificate, now time.Time) (status, error) {
	key := fmt.Sprintf("%s %x %x", url, sha256.Sum256(issuer.Raw), cert.SerialNumber)
	return recall(ctx, c, &c.responses, key, now, func(ctx context.Context) (status, time.Time, error) {
		request, err := ocsp.CreateRequest(cert, issuer, nil)
		if err != nil {
			return unknown, time.Time{}, err
		}
		der, err := c.fetch.Fetch(ctx, url, request, maxOCSPBytes)
		if err != nil {
			return unknown, time.Time{}, err
		}
		s, until, err := readOCSP(der, cert, issuer, now)
		return s, life(now, until), err
	})
}

// recall returns what is remembered under a key, or fetches it. Those who want the same share one fetch, which
// outlives a caller that gives up.
func recall[V any](ctx context.Context, c *Checker, m *memory[V], key string, now time.Time, fetch func(context.Context) (V, time.Time, error)) (V, error) {
	if r, ok := m.get(key, now); ok {
		return r.value, r.err
	}
	done := c.flight.DoChan(fmt.Sprintf("%T %s", m, key), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTime)
		defer cancel()
		var r remembered[V]
		if r.value, r.until, r.err = fetch(ctx); r.err != nil {
			r.until = now.Add(failureLife)
		}
		m.put(key, r, now)
		return r.value, r.err
	})
	select {
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	case r := <-done:
		v, _ := r.Val.(V)
		return v, r.Err
	}
}
