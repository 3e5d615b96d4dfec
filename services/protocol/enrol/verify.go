package enrol

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// maxChain bounds the certificates that are looked at in a handshake: a leaf, cross-signed roots
// and every root of the bundle.
const maxChain = 40

// Errors of the verification of the other end.
var (
	// ErrNotTLS13 means that the connection is not TLS 1.3.
	ErrNotTLS13 = errors.New("the connection is not TLS 1.3")
	// ErrNoCertificate means that the other end showed no certificate.
	ErrNoCertificate = errors.New("the other end showed no certificate")
	// ErrForeignRoot means that the other end does not belong to the fleet.
	ErrForeignRoot = errors.New("the certificate is not of this fleet's CA")
	// ErrWrongKind means that the other end is of the fleet, but not what it should be.
	ErrWrongKind = errors.New("the other end is of this fleet but has the wrong role")
	// ErrExpired means that the certificate's time is over, or has not come.
	ErrExpired = errors.New("the certificate is not valid at this time: check the clock of both ends, then renew it")
)

// VerifyPinned checks the controller's end of a connection before enrolment: TLS 1.3, a chain up to
// a root whose key has the hash rootHash (from the join token; the handshake brings the root
// itself), and a leaf that is a controller. It returns the controller's name: from it the host
// learns the trust domain.
func VerifyPinned(cs tls.ConnectionState, rootHash [sha256.Size]byte, now time.Time) (Name, error) {
	var roots []*x509.Certificate
	for i, cert := range cs.PeerCertificates {
		if i > 0 && i < maxChain && sha256.Sum256(cert.RawSubjectPublicKeyInfo) == rootHash {
			roots = append(roots, cert)
		}
	}
	return verifyController(cs, roots, now)
}

// VerifyController checks the controller's end of a connection after enrolment: TLS 1.3, a chain up
// to one of the roots, and a leaf that is a controller of the trust domain.
func VerifyController(cs tls.ConnectionState, roots []*x509.Certificate, trustDomain string, now time.Time) (Name, error) {
	name, err := verifyController(cs, roots, now)
	if err == nil && name.TrustDomain != trustDomain {
		return Name{}, fmt.Errorf("%w: it is of the fleet %q, not of %q", ErrForeignRoot, name.TrustDomain, trustDomain)
	}
	return name, err
}

func verifyController(cs tls.ConnectionState, roots []*x509.Certificate, now time.Time) (Name, error) {
	chain := cs.PeerCertificates
	switch {
	case cs.Version != tls.VersionTLS13:
		return Name{}, ErrNotTLS13
	case len(chain) == 0:
		return Name{}, ErrNoCertificate
	case len(chain) > maxChain:
		return Name{}, fmt.Errorf("%w: %d certificates", ErrForeignRoot, len(chain))
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         pool(roots),
		Intermediates: pool(chain[1:]),
		CurrentTime:   now,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return Name{}, verifyError(err)
	}
	name, err := NameOf(chain[0])
	if err != nil {
		return Name{}, err
	}
	if name.Kind != KindController {
		return Name{}, fmt.Errorf("%w: %s is not a controller", ErrWrongKind, name)
	}
	return name, nil
}

// Member is who a verified client certificate stands for.
type Member struct {
	// Name is the certificate's.
	Name Name
	// PublicKeyHash is the PublicKeyHash of the certificate's key.
	PublicKeyHash [sha256.Size]byte
	// Expired is true when the certificate was valid once and its time is over.
	Expired bool
	// Root is the root that signed it.
	Root *x509.Certificate
}

// VerifyMember checks a client certificate at the controller: signed by one of the roots directly,
// named in the trust domain, for client authentication. A certificate whose time is over is
// reported, not refused: Renew accepts it. The root must be valid now all the same.
func VerifyMember(leaf *x509.Certificate, roots []*x509.Certificate, trustDomain string, now time.Time) (Member, error) {
	at, expired := now, now.After(leaf.NotAfter)
	if expired {
		at = leaf.NotAfter
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots:         pool(roots),
		Intermediates: x509.NewCertPool(),
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return Member{}, verifyError(err)
	}
	root, ok := validRoot(chains, now)
	if !ok {
		return Member{}, fmt.Errorf("%w: its root's time is over", ErrExpired)
	}
	name, err := NameOf(leaf)
	if err != nil {
		return Member{}, err
	}
	if name.TrustDomain != trustDomain {
		return Member{}, fmt.Errorf("%w: it is of the fleet %q, not of %q", ErrForeignRoot, name.TrustDomain, trustDomain)
	}
	hash, err := PublicKeyHash(leaf.PublicKey)
	if err != nil {
		return Member{}, err
	}
	return Member{Name: name, PublicKeyHash: hash, Expired: expired, Root: root}, nil
}

// validRoot returns the root of the first chain leaf → root whose root is valid now.
func validRoot(chains [][]*x509.Certificate, now time.Time) (*x509.Certificate, bool) {
	for _, chain := range chains {
		root := chain[len(chain)-1]
		if len(chain) == 2 && !now.Before(root.NotBefore) && !now.After(root.NotAfter) {
			return root, true
		}
	}
	return nil, false
}

func pool(certs []*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, cert := range certs {
		p.AddCert(cert)
	}
	return p
}

// verifyError keeps x509's error and says which of ours it is.
func verifyError(err error) error {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return fmt.Errorf("%w: %w", ErrExpired, err)
	}
	return fmt.Errorf("%w: %w", ErrForeignRoot, err)
}
