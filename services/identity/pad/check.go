package pad

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// Bounds of an entry.
const (
	maxSecrets     = 4
	maxKeys        = 8
	maxCredentials = 8
	maxChain       = 8
)

// check says what in an entry cannot be meant.
func (e Entry) check(d *Database) error {
	a := e.Accept
	switch {
	case e.Name == "":
		return errors.New("it has no name")
	case !e.Remote.any && e.Remote.kind == 0:
		return errors.New("it has no remote identity")
	case len(a.methods()) == 0:
		return errors.New("it accepts no proof: give a secret, an authority, a key, IPSECKEY or NULL")
	case a.Null && (len(a.methods()) > 1 || !e.Remote.isNull()):
		return errors.New(`NULL authentication goes with no other proof, and with the remote identity "null:" only`)
	case e.Remote.isNull() && !a.Null:
		return errors.New("ID_NULL can be proven by NULL authentication only")
	case len(a.Secrets) > maxSecrets || len(a.Keys) > maxKeys || len(e.Local.Credentials) > maxCredentials:
		return fmt.Errorf("at most %d secrets, %d keys and %d credentials are used", maxSecrets, maxKeys, maxCredentials)
	case slices.ContainsFunc(a.Secrets, Secret.IsZero):
		return errors.New("a secret is empty")
	case a.IPSECKEY && d.resolver == nil:
		return errors.New("it accepts IPSECKEY, and no resolver is configured")
	case a.IPSECKEY && !e.Remote.inDNS():
		return fmt.Errorf("the identity %s has no name in DNS: IPSECKEY needs a name or an address", e.Remote)
	case a.Certificate != nil && len(a.Certificate.Authorities) == 0:
		return errors.New("it accepts certificates of no authority")
	case a.Certificate != nil && d.revocation == nil:
		return errors.New("it accepts certificates, and nothing checks their revocation")
	case a.Certificate != nil && e.Remote.kind == ikewire.IDKeyID && len(a.methods()) == 1:
		return errors.New("a certificate cannot prove a key ID (RFC 4945 section 3.1): give another identity")
	}
	for _, k := range a.Keys {
		if err := CheckKey(k); err != nil {
			return fmt.Errorf("pinned key: %w", err)
		}
	}
	for _, s := range e.Selectors {
		if err := s.Validate(); err != nil {
			return err
		}
	}
	for i, c := range e.Local.Credentials {
		if err := c.check(); err != nil {
			return fmt.Errorf("credential %d: %w", i+1, err)
		}
	}
	return nil
}

// inDNS reports whether an identity of the set can have an IPSECKEY record.
func (p Pattern) inDNS() bool {
	return p.any || p.kind == ikewire.IDFQDN || p.kind == ikewire.IDIPv4Addr || p.kind == ikewire.IDIPv6Addr
}

func (c Credential) check() error {
	kinds := 0
	for _, is := range []bool{!c.Secret.IsZero(), c.Signer != nil, c.Null} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return errors.New("it must be one of secret, signer and NULL")
	case c.Signer == nil:
		return nil
	case len(c.Chain) > maxChain:
		return fmt.Errorf("chain of %d certificates, at most %d are sent", len(c.Chain), maxChain)
	}
	if err := CheckKey(c.Signer.Public()); err != nil {
		return err
	}
	if len(c.Chain) > 0 && !sameKey(c.Chain[0].PublicKey, c.Signer.Public()) {
		return fmt.Errorf("the certificate %q is of another key", c.Chain[0].Subject)
	}
	for i := 1; i < len(c.Chain); i++ {
		if !bytes.Equal(c.Chain[i-1].RawIssuer, c.Chain[i].RawSubject) {
			return fmt.Errorf("certificate %d of the chain, %q, is not the issuer of the one before it", i+1, c.Chain[i].Subject)
		}
	}
	return nil
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

func (a Authority) check() error {
	if a.Name == "" || len(a.Certificates) == 0 {
		return errors.New("it needs a name and a certificate")
	}
	for _, c := range slices.Concat(a.Certificates, a.Intermediates) {
		if err := checkCA(c); err != nil {
			return fmt.Errorf("certificate %q: %w", c.Subject, err)
		}
	}
	return nil
}

func checkCA(c *x509.Certificate) error {
	if !c.BasicConstraintsValid || !c.IsCA {
		return errors.New("it is not a CA's (basicConstraints); pin the key of a single peer instead")
	}
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return errors.New("its keyUsage lacks keyCertSign")
	}
	return CheckKey(c.PublicKey)
}
