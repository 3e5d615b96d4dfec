package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"time"
)

// controllerCertificate is this controller's own certificate with what was decided from.
type controllerCertificate struct {
	tls    *tls.Certificate
	bundle *bundle
	renew  time.Time
}

// ServerConfig returns the TLS configuration of this controller's port. The certificate is made and
// renewed as needed; its key never leaves the process. Client certificates are asked for and not
// verified: a stranger may enrol, and Authenticate verifies each call.
func (s *Service) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h2"},
		Time:       s.now,
		ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := s.ControllerCertificate()
			if err != nil {
				s.log.Error("no certificate for the TLS port", "error", err)
			}
			return cert, err
		},
		// A resumed session would bring back a certificate of the past.
		SessionTicketsDisabled: true,
	}
}

// ControllerCertificate returns this controller's certificate, renewed at half of its life and when
// the CA has changed. The chain ends with every root: a host that enrols knows but the hash of one.
func (s *Service) ControllerCertificate() (*tls.Certificate, error) {
	b, err := s.current()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.cert; c != nil && c.bundle == b && s.now().Before(c.renew) {
		return c.tls, nil
	}
	c, err := s.newControllerCertificate(b)
	if err != nil {
		return nil, err
	}
	s.cert = c
	return c.tls, nil
}

func (s *Service) newControllerCertificate(b *bundle) (*controllerCertificate, error) {
	var key crypto.Signer
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf, _, err := s.issue(s.controller, key.Public(), controllerLife)
	if err != nil {
		return nil, err
	}
	chain := [][]byte{leaf.Raw}
	for _, r := range b.roots {
		if r.cross != nil {
			chain = append(chain, r.cross.Raw)
		}
	}
	return &controllerCertificate{
		tls:    &tls.Certificate{Certificate: append(chain, b.der()...), PrivateKey: key, Leaf: leaf},
		bundle: b,
		renew:  half(leaf.NotBefore, leaf.NotAfter),
	}, nil
}

// half is the middle of a certificate's life, when it is to be renewed.
func half(from, to time.Time) time.Time { return from.Add(to.Sub(from) / 2) }
