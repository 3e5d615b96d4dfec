package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/store"
)

// Lifetimes of certificates.
const (
	rootLife       = 10 * 365 * 24 * time.Hour
	hostLife       = 24 * time.Hour
	controllerLife = 24 * time.Hour
	operatorLife   = 90 * 24 * time.Hour
	// backdate forgives clocks that run late.
	backdate = 5 * time.Minute
)

// ensureCA makes the first root when there is none, and waits until the view has one.
func (s *Service) ensureCA(ctx context.Context) error {
	for {
		b, err := s.listed(ctx)
		if err != nil {
			return err
		}
		if len(b.roots) > 0 {
			break
		}
		// Two controllers that start at once both want to make root 1: one of them wins.
		if err := s.createFirstRoot(ctx); err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	head, err := s.store.HeadRevision(ctx)
	if err != nil {
		return err
	}
	if err := s.view.WaitRevision(ctx, head); err != nil {
		return err
	}
	_, err = s.current()
	return err
}

func (s *Service) createFirstRoot(ctx context.Context) error {
	r, err := s.newRoot(1, nil, nil)
	if err != nil {
		return err
	}
	r.active = true
	var t store.Txn
	if err := put(&t, r.key, 0, r.record()); err != nil {
		return err
	}
	if _, err := s.store.Commit(ctx, t); err != nil {
		return err
	}
	s.log.InfoContext(ctx, "made the fleet's CA", "trust_domain", s.trustDomain, "root", r.id)
	return nil
}

// newRoot makes a root, not active. When there is an active one it signs the new root's key too.
func (s *Service) newRoot(n int, active *root, activeKey crypto.Signer) (*root, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("identity: key of a root: %w", err)
	}
	r := &root{id: strconv.Itoa(n)}
	if r.key, err = store.CAKey(r.id); err != nil {
		return nil, err
	}
	template := s.rootTemplate(r.id)
	if r.cert, err = sign(template, template, key.Public(), key); err != nil {
		return nil, err
	}
	if active != nil {
		if r.cross, err = s.crossSign(r, active, activeKey); err != nil {
			return nil, err
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("identity: key of a root: %w", err)
	}
	defer clear(der)
	r.sealed, err = s.store.Seal(r.key, der)
	return r, err
}

// rootTemplate allows one CA below the root: its successor, cross-signed.
func (s *Service) rootTemplate(id string) *x509.Certificate {
	now := s.now()
	return &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"Sallyport"}, CommonName: s.rootName(id)},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(rootLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLen:            1,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		// A trust domain's own name has no path (X.509-SVID section 3.2).
		URIs: []*url.URL{{Scheme: "spiffe", Host: s.trustDomain}},
	}
}

// rootName tells the roots apart; X.520 allows 64 characters.
func (s *Service) rootName(id string) string {
	const most = 64
	name := s.trustDomain
	if suffix := " root " + id; len(name)+len(suffix) > most {
		return name[:most-len(suffix)] + suffix
	}
	return name + " root " + id
}

// crossSign signs r's key by an older root. What is below r may not be a CA.
func (s *Service) crossSign(r, by *root, key crypto.Signer) (*x509.Certificate, error) {
	template := s.rootTemplate(r.id)
	template.MaxPathLen, template.MaxPathLenZero = 0, true
	template.SubjectKeyId = r.cert.SubjectKeyId
	if template.NotAfter.After(by.cert.NotAfter) {
		template.NotAfter = by.cert.NotAfter
	}
	return sign(template, by.cert, r.cert.PublicKey, key)
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("identity: sign a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// errRootExpired says that nothing can be signed any more.
var errRootExpired = fault.New(fault.FailedPrecondition, "the fleet's CA is at its end: an administrator has to run sallyport ca rotate").WithReason("CA_EXPIRED")

// issue signs a certificate for a key with the active root, which it returns: the transaction that
// records the certificate compares the root, so that a rotation meanwhile undoes it.
func (s *Service) issue(name enrol.Name, public crypto.PublicKey, life time.Duration) (*x509.Certificate, *root, error) {
	if err := name.Validate(); err != nil {
		return nil, nil, fmt.Errorf("identity: %w", err)
	}
	if err := enrol.CheckPublicKey(public); err != nil {
		return nil, nil, badRequest(err)
	}
	b, err := s.current()
	if err != nil {
		return nil, nil, err
	}
	now := s.now()
	if !now.Before(b.active.cert.NotAfter) {
		return nil, nil, errRootExpired
	}
	key, err := b.active.signer(s.store)
	if err != nil {
		return nil, nil, err
	}
	template := leafTemplate(name, now, life)
	if template.NotAfter.After(b.active.cert.NotAfter) {
		template.NotAfter = b.active.cert.NotAfter
	}
	cert, err := sign(template, b.active.cert, public, key)
	return cert, b.active, err
}

func leafTemplate(name enrol.Name, now time.Time, life time.Duration) *x509.Certificate {
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if name.Kind == enrol.KindController {
		usage = append(usage, x509.ExtKeyUsageServerAuth)
	}
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: name.Name},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(life),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           usage,
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: name.TrustDomain, Path: "/" + string(name.Kind) + "/" + name.Name}},
	}
}

// badRequest turns a fault of a certificate request into one of the caller's.
func badRequest(err error) error {
	return fault.New(fault.InvalidArgument, "the certificate request cannot be accepted").
		WithField("certificate_request", err.Error()).WithReason("BAD_CERTIFICATE_REQUEST")
}
