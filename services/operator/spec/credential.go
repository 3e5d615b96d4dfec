package spec

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

// Types of credentials.
const (
	CredentialPSK       = "psk"
	CredentialKey       = "key"
	CredentialCA        = "ca"
	CredentialPublicKey = "public-key"
)

// shortPSK is the length in bytes below which a pre-shared key can be guessed by whoever pretends to be its peer
// (RFC 7296 section 2.15): 128 bits.
const shortPSK = 16

// maxPSK bounds a pre-shared key, bytes.
const maxPSK = 1024

// CheckCredential checks a credential, and returns the secret that it brings: the pre-shared key, or the private key
// in PKCS#8 DER. It is nil where there is to be what there was. Whoever has it clears it.
func CheckCredential(c *operatorv1.Credential) ([]byte, Report) {
	var r Report
	s := c.GetSpec()
	var secret []byte
	given := s.GetSecret() != "" && s.GetSecret() != Redacted
	switch s.GetType() {
	case CredentialPSK:
		if given {
			secret = checkPSK(s.GetSecret(), &r)
		}
	case CredentialKey:
		if given {
			secret = checkPrivateKey(s.GetSecret(), &r)
		}
		checkPair(secret, checkCertificates(s.GetCertificates(), false, &r), &r)
	case CredentialCA:
		if len(checkCertificates(s.GetCertificates(), true, &r)) == 0 {
			r.problem("spec.certificates", "is empty: give the CA's certificates, PEM")
		}
	case CredentialPublicKey:
		checkPublicKey(s.GetPublicKey(), &r)
	default:
		r.problem("spec.type", "%s is none of psk, key, ca, public-key", quote(s.GetType()))
	}
	if given && s.GetType() != CredentialPSK && s.GetType() != CredentialKey {
		r.problem("spec.secret", "does not go with type %s", s.GetType())
	}
	return secret, r
}

// HasSecret says whether a credential of that type has a secret part.
func HasSecret(s *operatorv1.CredentialSpec) bool {
	return s.GetType() == CredentialPSK || s.GetType() == CredentialKey
}

// checkPSK reads text, 0x and hexadecimal digits, or 0s and Base64. It shows nothing of what it reads.
func checkPSK(text string, r *Report) (key []byte) {
	var err error
	if digits, ok := strings.CutPrefix(text, "0x"); ok {
		key, err = hex.DecodeString(digits)
	} else if digits, ok := strings.CutPrefix(text, "0s"); ok {
		key, err = base64.StdEncoding.DecodeString(digits)
	} else {
		key = []byte(text)
	}
	switch {
	case err != nil:
		r.problem("spec.secret", "begins with 0x or 0s, but is not hexadecimal or Base64")
		return nil
	case len(key) == 0 || len(key) > maxPSK:
		r.problem("spec.secret", "has %d bytes: want 1 to %d", len(key), maxPSK)
		return nil
	case len(key) < shortPSK:
		r.warn("spec.secret has %d bytes: whoever pretends to be a gateway can try out short keys; make one with: openssl rand -base64 32", len(key))
	}
	return key
}

// checkPrivateKey reads PEM, and returns PKCS#8 DER.
func checkPrivateKey(text string, r *Report) []byte {
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		r.problem("spec.secret", "is not one private key in PEM")
		return nil
	}
	defer clear(block.Bytes)
	key, err := parsePrivateKey(block)
	if err != nil {
		r.problem("spec.secret", "is no private key of RSA, ECDSA or Ed25519 that is not encrypted: convert it with: openssl pkcs8 -topk8 -nocrypt")
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		r.problem("spec.secret", "is a private key of an unknown kind")
		return nil
	}
	return der
}

func parsePrivateKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	return nil, errors.New("not a private key")
}

// checkCertificates reads certificates in PEM.
func checkCertificates(text string, ca bool, r *Report) (all []*x509.Certificate) {
	for rest := []byte(text); len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			r.problem("spec.certificates", "has something that is no certificate in PEM")
			return all
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			r.problem("spec.certificates", "certificate %d cannot be read: %v", len(all)+1, err)
			return all
		}
		if ca && (!c.IsCA || !c.BasicConstraintsValid) {
			r.problem("spec.certificates", "certificate %d, of %s, is not a CA's", len(all)+1, quote(c.Subject.String()))
		}
		all = append(all, c)
	}
	return all
}

// Certificates are those of a credential that was checked.
func Certificates(s *operatorv1.CredentialSpec) []*x509.Certificate {
	return checkCertificates(s.GetCertificates(), false, &Report{})
}

// checkPair checks that the first certificate is of the private key.
func checkPair(der []byte, certificates []*x509.Certificate, r *Report) {
	if der == nil || len(certificates) == 0 {
		return
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return // reported
	}
	signer, ok := key.(crypto.Signer)
	public, comparable := certificates[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !comparable || !public.Equal(signer.Public()) {
		r.problem("spec.certificates", "the first certificate, of %s, is not of the private key: put it first", quote(certificates[0].Subject.String()))
	}
}

func checkPublicKey(text string, r *Report) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
		r.problem("spec.public_key", "is not one public key in PEM (PUBLIC KEY)")
		return
	}
	if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		r.problem("spec.public_key", "cannot be read: %v", err)
	}
}
