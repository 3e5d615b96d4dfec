package revocation

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"
)

// Policy says what to do when nobody says whether a certificate has been revoked.
type Policy uint8

// Policies.
const (
	IfAvailable Policy = iota // accept, with a note
	Strict                    // refuse
)

// String returns the name that a configuration uses.
func (p Policy) String() string {
	if p == Strict {
		return "strict"
	}
	return "if-available"
}

// What a check may end in.
var (
	// ErrRevoked: a certificate of the chain has been revoked.
	ErrRevoked = errors.New("revoked")
	// ErrUnknown: the policy is Strict and nobody says that a certificate is good.
	ErrUnknown = errors.New("revocation status unknown")
)

// Evidence is what the peer sent, as DER. What cannot be read says nothing.
type Evidence struct {
	CRLs [][]byte // CERT encoding 7
	OCSP [][]byte // CERT encoding 14
}

// Bounds of a check.
const (
	maxEvidence  = 8 // CRLs, and responses, of one peer
	maxURLs      = 4 // of each kind, of one certificate
	checkTime    = 12 * time.Second
	clockSkew    = 5 * time.Minute // how far thisUpdate may lie ahead
	minLife      = 5 * time.Minute // what was fetched is not fetched again before
	maxLife      = 24 * time.Hour
	failureLife  = time.Minute
	maxCRLBytes  = 8 << 20
	maxOCSPBytes = 64 << 10
)

// Query is one chain to check.
type Query struct {
	// Chain is verified: the leaf first, then each one's issuer, the trust anchor last. The anchor itself
	// is not checked: the operator revokes it.
	Chain    []*x509.Certificate
	Now      time.Time
	Policy   Policy
	Evidence Evidence
	// CRLs are the operator's.
	CRLs []*CRL
}

// Checker checks chains and remembers what it fetched. It is safe for concurrent use.
type Checker struct {
	fetch     Fetcher
	crls      memory[*CRL]   // by URL: a CRL is verified each time that it is used
	responses memory[status] // by URL, issuer and serial number
	flight    singleflight.Group
}

// New returns a checker that fetches by f; nil fetches nothing.
func New(f Fetcher) *Checker {
	return &Checker{fetch: f, crls: memory[*CRL]{limit: maxCRLs}, responses: memory[status]{limit: maxResponses}}
}

// Check returns nil when no certificate of the chain is known to be revoked, and notes on those of which
// nothing is known. Errors: ErrRevoked; ErrUnknown when the policy is Strict.
func (c *Checker) Check(ctx context.Context, q Query) (notes []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	for i := range len(q.Chain) - 1 {
		o := c.ask(ctx, q, q.Chain[i], q.Chain[i+1])
		name := q.Chain[i].Subject.String()
		switch {
		case o.status == revoked:
			return notes, fmt.Errorf("%w: certificate %q, serial number %x: %s", ErrRevoked, name, q.Chain[i].SerialNumber, o.source)
		case o.status == good:
		case q.Policy == Strict:
			return notes, fmt.Errorf("%w: certificate %q, serial number %x: %s", ErrUnknown, name, q.Chain[i].SerialNumber, o.why())
		default:
			notes = append(notes, fmt.Sprintf("nobody says whether the certificate %q has been revoked (%s)", name, o.why()))
		}
	}
	return notes, nil
}

type status uint8

const (
	unknown status = iota
	good
	revoked
)

// opinion is what is known of one certificate so far.
type opinion struct {
	status status
	source string   // of the status
	wrong  []string // why other sources say nothing
}

// hear takes a source's word: revoked rules, then good.
func (o *opinion) hear(s status, source string, err error) {
	if err != nil {
		o.wrong = append(o.wrong, fmt.Sprintf("%s: %v", source, err))
		return
	}
	if s > o.status {
		o.status, o.source = s, source
	}
}

func (o opinion) why() string {
	if len(o.wrong) == 0 {
		return "it names no responder and no CRL that may be fetched, and none was given"
	}
	return strings.Join(o.wrong, "; ")
}

func (c *Checker) ask(ctx context.Context, q Query, cert, issuer *x509.Certificate) opinion {
	var o opinion
	for _, der := range q.Evidence.OCSP[:min(maxEvidence, len(q.Evidence.OCSP))] {
		if s, _, err := readOCSP(der, cert, issuer, q.Now); !errors.Is(err, errOther) {
			o.hear(s, "OCSP response of the peer", err)
		}
	}
	for _, der := range q.Evidence.CRLs[:min(maxEvidence, len(q.Evidence.CRLs))] {
		if crl, err := ParseCRL(der); err == nil && crl.from(issuer) {
			s, err := crl.status(cert, issuer, q.Now)
			o.hear(s, "CRL of the peer", err)
		}
	}
	for _, crl := range q.CRLs {
		if crl.from(issuer) {
			s, err := crl.status(cert, issuer, q.Now)
			o.hear(s, "configured CRL", err)
		}
	}
	if c.fetch == nil || o.status != unknown {
		return o
	}
	for _, url := range cert.OCSPServer[:min(maxURLs, len(cert.OCSPServer))] {
		if s, err := c.byOCSP(ctx, url, cert, issuer, q.Now); o.settles(s, "OCSP responder "+url, err) {
			return o
		}
	}
	for _, url := range cert.CRLDistributionPoints[:min(maxURLs, len(cert.CRLDistributionPoints))] {
		if s, err := c.byCRL(ctx, url, cert, issuer, q.Now); o.settles(s, "CRL "+url, err) {
			return o
		}
	}
	return o
}

// settles is hear, and whether the question is answered.
func (o *opinion) settles(s status, source string, err error) bool {
	o.hear(s, source, err)
	return o.status != unknown
}
