package revocation_test

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ocsp"

	"sallyport.dev/sallyport/services/identity/pad/padtest"
	"sallyport.dev/sallyport/services/identity/pad/revocation"
)

const (
	crlURL  = "http://ca.example/crl"
	ocspURL = "http://ca.example/ocsp"
)

// pki is a root, a CA below it and a leaf with both kinds of URL.
type pki struct{ root, sub, leaf, responder padtest.Cert }

func newPKI(t testing.TB) pki {
	root := padtest.NewCA(t, "root")
	sub := root.Sub(t, "sub")
	return pki{
		root: root, sub: sub,
		leaf: sub.Issue(t, "leaf", "p256", func(c *x509.Certificate) {
			c.CRLDistributionPoints, c.OCSPServer = []string{crlURL}, []string{ocspURL}
		}),
		responder: sub.Issue(t, "responder", "p256", func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
		}),
	}
}

// query is about the leaf; the CA above it is good by a configured CRL.
func (p pki) query(t testing.TB) revocation.Query {
	return revocation.Query{
		Chain: []*x509.Certificate{p.leaf.Certificate, p.sub.Certificate, p.root.Certificate},
		Now:   padtest.Now(), Policy: revocation.Strict, CRLs: []*revocation.CRL{parse(t, p.root.CRL(t, nil))},
	}
}

func parse(t testing.TB, der []byte) *revocation.CRL {
	t.Helper()
	crl, err := revocation.ParseCRL(der)
	if err != nil {
		t.Fatal(err)
	}
	return crl
}

// web serves what a map holds, and counts: what it served, or all when it has nothing.
type web struct {
	pages map[string][]byte
	n     atomic.Int32
}

func (w *web) Fetch(_ context.Context, url string, post []byte, _ int) ([]byte, error) {
	if page, ok := w.pages[url]; ok && (post != nil) == (url == ocspURL) {
		w.n.Add(1)
		return page, nil
	}
	if w.pages == nil {
		w.n.Add(1)
	}
	return nil, fmt.Errorf("%s is not there", url)
}

func idp(value string) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte(value)})
	}
}

// point is an issuing distribution point with a URL.
func point(url string) string {
	n := "\x86" + string(rune(len(url))) + url
	n = "\xa0" + string(rune(len(n))) + n
	n = "\xa0" + string(rune(len(n))) + n
	return "\x30" + string(rune(len(n))) + n
}

// TestCRL: each CRL is the one word about the leaf, configured, in band and fetched.
func TestCRL(t *testing.T) {
	p := newPKI(t)
	other := padtest.NewCA(t, "sub") // of the same name
	for name, c := range map[string]struct {
		der  []byte
		want error
	}{
		"good":                 {p.sub.CRL(t, nil), nil},
		"another is listed":    {p.sub.CRL(t, nil, p.responder), nil},
		"listed":               {p.sub.CRL(t, nil, p.leaf), revocation.ErrRevoked},
		"listed, out of date":  {p.sub.CRL(t, old, p.leaf), revocation.ErrRevoked},
		"out of date":          {p.sub.CRL(t, old), revocation.ErrUnknown},
		"from the future":      {p.sub.CRL(t, future), revocation.ErrUnknown},
		"another CA's":         {p.root.CRL(t, nil, p.leaf), revocation.ErrUnknown},
		"another key":          {other.CRL(t, nil, p.leaf), revocation.ErrUnknown},
		"its own point":        {p.sub.CRL(t, idp(point(crlURL)), p.leaf), revocation.ErrRevoked},
		"its own point, good":  {p.sub.CRL(t, idp(point(crlURL))), nil},
		"another's point":      {p.sub.CRL(t, idp(point("http://ca.example/2"))), revocation.ErrUnknown},
		"users only":           {p.sub.CRL(t, idp("\x30\x03\x81\x01\xff")), nil},
		"CAs only":             {p.sub.CRL(t, idp("\x30\x03\x82\x01\xff")), revocation.ErrUnknown},
		"some reasons":         {p.sub.CRL(t, idp("\x30\x04\x83\x02\x00\x80")), revocation.ErrUnknown},
		"indirect":             {p.sub.CRL(t, idp("\x30\x03\x84\x01\xff")), revocation.ErrUnknown},
		"delta":                {p.sub.CRL(t, critical(27)), revocation.ErrUnknown},
		"critical extension":   {p.sub.CRL(t, critical(99)), revocation.ErrUnknown},
		"critical in an entry": {p.sub.CRL(t, criticalEntry, p.responder), revocation.ErrUnknown},
		"bytes behind it":      {append(p.sub.CRL(t, nil), 0), revocation.ErrUnknown},
		"junk":                 {[]byte("junk"), revocation.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			q := p.query(t)
			q.Evidence.CRLs = [][]byte{c.der}
			expect(t, "in band", revocation.New(nil), q, c.want)
			q = p.query(t)
			w := &web{pages: map[string][]byte{crlURL: c.der}}
			expect(t, "fetched", revocation.New(w), q, c.want)
			if crl, err := revocation.ParseCRL(c.der); err == nil {
				q.CRLs = append(q.CRLs, crl)
				expect(t, "configured", revocation.New(nil), q, c.want)
			}
		})
	}
}

func old(l *x509.RevocationList) {
	l.ThisUpdate, l.NextUpdate = padtest.Now().Add(-2*time.Hour), padtest.Now().Add(-time.Hour)
}

func future(l *x509.RevocationList) { l.ThisUpdate = padtest.Now().Add(30 * time.Minute) }

func critical(id int) func(*x509.RevocationList) {
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = append(l.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, id}, Critical: true, Value: []byte{5, 0}})
	}
}

func criticalEntry(l *x509.RevocationList) {
	l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{5, 0}}}
}

func expect(t *testing.T, how string, c *revocation.Checker, q revocation.Query, want error) {
	t.Helper()
	if notes, err := c.Check(t.Context(), q); !errors.Is(err, want) || err == nil && len(notes) > 0 {
		t.Errorf("%s: %v, %v, want %v", how, notes, err, want)
	}
	q.Policy = revocation.IfAvailable
	notes, err := c.Check(t.Context(), q)
	if unknown := errors.Is(want, revocation.ErrUnknown); unknown && (err != nil || len(notes) != 1) || !unknown && !errors.Is(err, want) {
		t.Errorf("%s, if available: %v, %v, want %v", how, notes, err, want)
	}
}

// TestOCSP: each response is the one word about the leaf, in band and fetched.
func TestOCSP(t *testing.T) {
	p := newPKI(t)
	twin := padtest.NewCA(t, "twin") // has given the leaf's serial number to another
	late := p.sub.Issue(t, "late", "p256", func(c *x509.Certificate) {
		c.ExtKeyUsage, c.NotAfter = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, padtest.Now().Add(-time.Minute)
	})
	encipher := p.sub.Issue(t, "encipher", "p256", func(c *x509.Certificate) {
		c.ExtKeyUsage, c.KeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, x509.KeyUsageKeyEncipherment
	})
	outsider := p.root.Issue(t, "outsider", "p256", func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
	})
	for name, c := range map[string]struct {
		der  []byte
		want error
	}{
		"good":                            {p.sub.OCSP(t, p.sub, p.leaf, nil), nil},
		"good, by a responder":            {p.sub.OCSP(t, p.responder, p.leaf, nil), nil},
		"good, without nextUpdate":        {p.sub.OCSP(t, p.sub, p.leaf, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), nil},
		"good, named by SHA-256":          {p.sub.OCSP(t, p.sub, p.leaf, func(r *ocsp.Response) { r.IssuerHash = crypto.SHA256 }), nil},
		"good, named by SHA-512":          {p.sub.OCSP(t, p.sub, p.leaf, func(r *ocsp.Response) { r.IssuerHash = crypto.SHA512 }), revocation.ErrUnknown},
		"revoked":                         {p.sub.OCSP(t, p.sub, p.leaf, says(ocsp.Revoked)), revocation.ErrRevoked},
		"revoked, by a responder":         {p.sub.OCSP(t, p.responder, p.leaf, says(ocsp.Revoked)), revocation.ErrRevoked},
		"revoked, out of date":            {p.sub.OCSP(t, p.sub, p.leaf, func(r *ocsp.Response) { says(ocsp.Revoked)(r); stale(r) }), revocation.ErrRevoked},
		"unknown":                         {p.sub.OCSP(t, p.sub, p.leaf, says(ocsp.Unknown)), revocation.ErrUnknown},
		"out of date":                     {p.sub.OCSP(t, p.sub, p.leaf, stale), revocation.ErrUnknown},
		"old, without nextUpdate":         {p.sub.OCSP(t, p.sub, p.leaf, func(r *ocsp.Response) { stale(r); r.NextUpdate = time.Time{} }), revocation.ErrUnknown},
		"from the future":                 {p.sub.OCSP(t, p.sub, p.leaf, func(r *ocsp.Response) { r.ThisUpdate = padtest.Now().Add(10 * time.Minute) }), revocation.ErrUnknown},
		"about another":                   {p.sub.OCSP(t, p.sub, p.responder, nil), revocation.ErrUnknown},
		"about another CA's, by this one": {twin.OCSP(t, p.sub, p.leaf, asItself), revocation.ErrUnknown},
		"by the leaf itself":              {p.sub.OCSP(t, p.leaf, p.leaf, nil), revocation.ErrUnknown},
		"by a responder out of time":      {p.sub.OCSP(t, late, p.leaf, nil), revocation.ErrUnknown},
		"by a key that may not sign":      {p.sub.OCSP(t, encipher, p.leaf, nil), revocation.ErrUnknown},
		"by another CA's responder":       {p.sub.OCSP(t, outsider, p.leaf, nil), revocation.ErrUnknown},
		"by another CA":                   {p.sub.OCSP(t, twin, p.leaf, asItself), revocation.ErrUnknown},
		"try later":                       {ocsp.TryLaterErrorResponse, revocation.ErrUnknown},
		"unauthorized":                    {ocsp.UnauthorizedErrorResponse, revocation.ErrUnknown},
		"junk":                            {[]byte("junk"), revocation.ErrUnknown},
		"too long":                        {make([]byte, 1<<17), revocation.ErrUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			q := p.query(t)
			q.Evidence.OCSP = [][]byte{c.der}
			expect(t, "in band", revocation.New(nil), q, c.want)
			expect(t, "fetched", revocation.New(&web{pages: map[string][]byte{ocspURL: c.der}}), p.query(t), c.want)
		})
	}
}

func says(status int) func(*ocsp.Response) { return func(r *ocsp.Response) { r.Status = status } }
func asItself(r *ocsp.Response)            { r.Certificate = nil }
func stale(r *ocsp.Response) {
	r.ThisUpdate, r.NextUpdate = padtest.Now().Add(-3*time.Hour), padtest.Now().Add(-2*time.Hour)
}

// TestRevokedRules: one valid "revoked" refuses, whoever says "good" besides.
func TestRevokedRules(t *testing.T) {
	p := newPKI(t)
	q := p.query(t)
	q.Evidence.OCSP = [][]byte{p.sub.OCSP(t, p.sub, p.leaf, nil)}
	q.Evidence.CRLs = [][]byte{p.sub.CRL(t, nil)}
	q.CRLs = append(q.CRLs, parse(t, p.sub.CRL(t, nil, p.leaf)))
	expect(t, "revoked by the operator's CRL", revocation.New(nil), q, revocation.ErrRevoked)
}

// TestWholeChain: a revoked CA refuses what it issued.
func TestWholeChain(t *testing.T) {
	p := newPKI(t)
	q := p.query(t)
	q.Evidence.OCSP = [][]byte{p.sub.OCSP(t, p.sub, p.leaf, nil)}
	expect(t, "a good CA", revocation.New(nil), q, nil)
	q.CRLs = []*revocation.CRL{parse(t, p.root.CRL(t, nil, p.sub))}
	expect(t, "a revoked CA", revocation.New(nil), q, revocation.ErrRevoked)
	q.CRLs = nil
	expect(t, "an unknown CA", revocation.New(nil), q, revocation.ErrUnknown)
}

// TestMemory: what was fetched is fetched again when it is out of date, within bounds; failures soon.
func TestMemory(t *testing.T) {
	p := newPKI(t)
	for name, c := range map[string]struct {
		pages  map[string][]byte
		want   error
		before time.Duration // nothing new is fetched before
		n      int32         // fetches each time
	}{
		"OCSP":        {map[string][]byte{ocspURL: p.sub.OCSP(t, p.sub, p.leaf, nil)}, nil, time.Hour, 1},
		"CRL":         {map[string][]byte{crlURL: p.sub.CRL(t, nil)}, nil, time.Hour, 1},
		"at most":     {map[string][]byte{ocspURL: p.sub.OCSP(t, p.sub, p.leaf, func(r *ocsp.Response) { r.NextUpdate = padtest.Now().Add(900 * time.Hour) })}, nil, 24 * time.Hour, 1},
		"at least":    {map[string][]byte{ocspURL: p.sub.OCSP(t, p.sub, p.leaf, func(r *ocsp.Response) { r.NextUpdate = padtest.Now().Add(time.Second) })}, nil, 5 * time.Minute, 1},
		"failures":    {nil, revocation.ErrUnknown, time.Minute, 2},
		"CRL, failed": {map[string][]byte{crlURL: p.sub.CRL(t, old)}, revocation.ErrUnknown, time.Minute, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := &web{pages: c.pages}
			checker, q := revocation.New(w), p.query(t)
			q.CRLs = []*revocation.CRL{parse(t, p.root.CRL(t, func(l *x509.RevocationList) { l.NextUpdate = padtest.Now().Add(9999 * time.Hour) }))}
			for _, step := range []struct {
				after time.Duration
				n     int32
			}{{0, c.n}, {c.before - time.Second, c.n}} {
				q.Now = padtest.Now().Add(step.after)
				if _, err := checker.Check(t.Context(), q); !errors.Is(err, c.want) || w.n.Load() != step.n {
					t.Errorf("after %s: %d fetches, %v", step.after, w.n.Load(), err)
				}
			}
			q.Now = padtest.Now().Add(c.before)
			if _, _ = checker.Check(t.Context(), q); w.n.Load() <= c.n {
				t.Errorf("after %s nothing is fetched anew", c.before)
			}
		})
	}
}

// TestBothAreTried: a CRL is fetched when the responder says nothing; the reason names both.
func TestBothAreTried(t *testing.T) {
	p := newPKI(t)
	expect(t, "CRL after OCSP", revocation.New(&web{pages: map[string][]byte{
		ocspURL: ocsp.TryLaterErrorResponse, crlURL: p.sub.CRL(t, nil, p.leaf)}}), p.query(t), revocation.ErrRevoked)
	_, err := revocation.New(&web{}).Check(t.Context(), p.query(t))
	if err == nil || !strings.Contains(err.Error(), crlURL) || !strings.Contains(err.Error(), ocspURL) {
		t.Errorf("the reason is %v", err)
	}
}

func FuzzCRL(f *testing.F) {
	p := newPKI(f)
	f.Add(p.sub.CRL(f, idp(point(crlURL)), p.leaf))
	f.Fuzz(func(t *testing.T, der []byte) { _, _ = revocation.ParseCRL(der) })
}

func FuzzOCSP(f *testing.F) {
	p := newPKI(f)
	f.Add(p.sub.OCSP(f, p.responder, p.leaf, nil))
	checker := revocation.New(nil)
	q := p.query(f)
	f.Fuzz(func(t *testing.T, der []byte) {
		q := q
		q.Evidence.OCSP = [][]byte{der}
		_, _ = checker.Check(t.Context(), q)
	})
}

// slow is a web that answers only when all who will ask have asked.
type slow struct {
	web
	all *sync.WaitGroup
}

func (s *slow) Fetch(ctx context.Context, url string, post []byte, limit int) ([]byte, error) {
	s.all.Wait()
	return s.web.Fetch(ctx, url, post, limit)
}

// TestOneFetchForMany: checks at the same time share one fetch.
func TestOneFetchForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPKI(t)
		all := new(sync.WaitGroup)
		all.Add(1)
		w := &slow{web{pages: map[string][]byte{ocspURL: p.sub.OCSP(t, p.sub, p.leaf, nil)}}, all}
		checker := revocation.New(w)
		var checks sync.WaitGroup
		for range 10 {
			q := p.query(t)
			checks.Go(func() {
				if _, err := checker.Check(t.Context(), q); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // all of them wait for the one fetch
		all.Done()
		checks.Wait()
		if w.n.Load() != 1 {
			t.Errorf("%d fetches", w.n.Load())
		}
	})
}
