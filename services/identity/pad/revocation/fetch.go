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
	got, ok := c.memory.crl(url, now)
	if !ok {
		v, err := c.once(ctx, "crl "+url, func(ctx context.Context) any {
			got := c.fetchCRL(ctx, url, now)
			c.memory.keepCRL(url, got, now)
			return got
		})
		if err != nil {
			return unknown, err
		}
		got = v.(rememberedCRL)
	}
	if got.err != nil {
		return unknown, got.err
	}
	return got.crl.status(cert, issuer, now)
}

func (c *Checker) fetchCRL(ctx context.Context, url string, now time.Time) rememberedCRL {
	failed := func(err error) rememberedCRL { return rememberedCRL{err: err, until: now.Add(failureLife)} }
	der, err := c.fetch.Fetch(ctx, url, nil, maxCRLBytes)
	if err != nil {
		return failed(err)
	}
	crl, err := ParseCRL(der)
	if err != nil {
		return failed(err)
	}
	if !now.Before(crl.NextUpdate()) { // it still tells what was revoked; a newer one is asked for soon
		return rememberedCRL{crl: crl, until: now.Add(failureLife)}
	}
	return rememberedCRL{crl: crl, until: life(now, crl.NextUpdate())}
}

// byOCSP asks the responder, or remembers what it said.
func (c *Checker) byOCSP(ctx context.Context, url string, cert, issuer *x509.Certificate, now time.Time) (status, error) {
	key := fmt.Sprintf("%s %x %x", url, sha256.Sum256(issuer.Raw), cert.SerialNumber)
	got, ok := c.memory.response(key, now)
	if !ok {
		v, err := c.once(ctx, "ocsp "+key, func(ctx context.Context) any {
			got := c.fetchOCSP(ctx, url, cert, issuer, now)
			c.memory.keepResponse(key, got, now)
			return got
		})
		if err != nil {
			return unknown, err
		}
		got = v.(rememberedResponse)
	}
	return got.status, got.err
}

func (c *Checker) fetchOCSP(ctx context.Context, url string, cert, issuer *x509.Certificate, now time.Time) rememberedResponse {
	failed := func(err error) rememberedResponse { return rememberedResponse{err: err, until: now.Add(failureLife)} }
	request, err := ocsp.CreateRequest(cert, issuer, nil)
	if err != nil {
		return failed(err)
	}
	der, err := c.fetch.Fetch(ctx, url, request, maxOCSPBytes)
	if err != nil {
		return failed(err)
	}
	s, until, err := readOCSP(der, cert, issuer, now)
	if err != nil {
		return failed(err)
	}
	return rememberedResponse{status: s, until: life(now, until)}
}

// once shares one fetch among those who want the same. The fetch outlives a caller that gives up.
func (c *Checker) once(ctx context.Context, key string, fetch func(context.Context) any) (any, error) {
	done := c.flight.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTime)
		defer cancel()
		return fetch(ctx), nil
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-done:
		return r.Val, r.Err
	}
}
