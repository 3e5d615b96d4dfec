package enrol

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"time"
)

// PinnedConfig returns the agent's TLS configuration for enrolment: the handshake fails, before any
// byte of the application is sent, unless VerifyPinned is content.
func PinnedConfig(rootHash [sha256.Size]byte, now func() time.Time) *tls.Config {
	return clientConfig(now, func(cs tls.ConnectionState) error {
		_, err := VerifyPinned(cs, rootHash, now())
		return err
	})
}

// Trust is whom the holder of an identity believes.
type Trust struct {
	// Roots are the fleet's roots.
	Roots []*x509.Certificate
	// Domain is the fleet's trust domain.
	Domain string
}

// MemberConfig returns the TLS configuration of an enrolled host or an operator: the handshake fails
// unless VerifyController is content. Both functions are called for each handshake, so that a
// renewed certificate and a rotated root take effect without a restart.
func MemberConfig(certificate func() (*tls.Certificate, error), trust func() Trust, now func() time.Time) *tls.Config {
	c := clientConfig(now, func(cs tls.ConnectionState) error {
		t := trust()
		_, err := VerifyController(cs, t.Roots, t.Domain, now())
		return err
	})
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return certificate()
	}
	return c
}

// clientConfig replaces crypto/tls's check of the server's DNS name by verify, which looks at the
// SPIFFE name. Nothing resumes, so verify runs on full handshakes only.
func clientConfig(now func() time.Time, verify func(tls.ConnectionState) error) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{"h2"},
		Time:               now,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it, by SPIFFE name
		VerifyConnection:   verify,
	}
}
