package pad

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"slices"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// scheme is a way to sign: method 14 with an algorithm, or one of the older methods.
type scheme struct {
	method    ikewire.AuthMethod
	algorithm ikewire.SignatureAlgorithm
}

// String names the scheme.
func (s scheme) String() string { return signature{method: s.method, algorithm: s.algorithm}.String() }

// scheme picks how to sign with the credential's key: by method 14 with a hash that the peer announced, else by
// the method of RFC 7296 or RFC 4754 that the key has, with SHA-2 as method 1 allows. SHA-1 is never used.
func (c Credential) scheme(p Proof) (scheme, error) {
	key := c.Signer.Public()
	var fit []scheme
	for _, a := range algorithmsOf(key) {
		if (c.Prefer == nil || slices.Contains(c.Prefer, a)) && slices.Contains(p.PeerHashes, a.Hash()) {
			fit = append(fit, scheme{ikewire.AuthDigitalSig, a})
		}
	}
	slices.SortStableFunc(fit, func(a, b scheme) int {
		return slices.Index(c.Prefer, a.algorithm) - slices.Index(c.Prefer, b.algorithm)
	})
	if m := legacyMethod(key); m != 0 && c.Prefer == nil {
		fit = append(fit, scheme{method: m})
	}
	if len(fit) == 0 {
		return scheme{}, fmt.Errorf("the peer verifies none of the algorithms of a key of %s: it announced the hashes %v; use another key, or allow more algorithms",
			KeyName(key), p.PeerHashes)
	}
	if i := slices.IndexFunc(fit, func(s scheme) bool { return s.announced(p.Methods) }); i > 0 {
		return fit[i], nil
	}
	return fit[0], nil
}

// algorithmsOf lists those of method 14 for a key, our order: PSS before PKCS #1 v1.5, and for a curve the hash
// of its strength first.
func algorithmsOf(key crypto.PublicKey) []ikewire.SignatureAlgorithm {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return []ikewire.SignatureAlgorithm{
			ikewire.SignRSAPSSSHA256, ikewire.SignRSAPSSSHA384, ikewire.SignRSAPSSSHA512,
			ikewire.SignRSAPKCS1SHA256, ikewire.SignRSAPKCS1SHA384, ikewire.SignRSAPKCS1SHA512,
		}
	case ed25519.PublicKey:
		return []ikewire.SignatureAlgorithm{ikewire.SignEd25519}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P384():
			return []ikewire.SignatureAlgorithm{ikewire.SignECDSASHA384, ikewire.SignECDSASHA512, ikewire.SignECDSASHA256}
		case elliptic.P521():
			return []ikewire.SignatureAlgorithm{ikewire.SignECDSASHA512, ikewire.SignECDSASHA384, ikewire.SignECDSASHA256}
		}
		return []ikewire.SignatureAlgorithm{ikewire.SignECDSASHA256, ikewire.SignECDSASHA384, ikewire.SignECDSASHA512}
	}
	return nil
}

// legacyMethod is the one before RFC 7427 for a key, 0 for Ed25519.
func legacyMethod(key crypto.PublicKey) ikewire.AuthMethod {
	switch k := key.(type) {
	case *rsa.PublicKey:
		return ikewire.AuthRSA
	case *ecdsa.PublicKey:
		for _, m := range []ikewire.AuthMethod{ikewire.AuthECDSAP256, ikewire.AuthECDSAP384, ikewire.AuthECDSAP521} {
			if curve, _ := curveOf(m); curve == k.Curve {
				return m
			}
		}
	}
	return 0
}

// announced reports whether the peer said that it takes the scheme (RFC 9593 section 3.2).
func (s scheme) announced(all []ikewire.AuthAnnouncement) bool {
	return slices.ContainsFunc(all, func(a ikewire.AuthAnnouncement) bool {
		if a.Method != s.method {
			return false
		}
		known, err := ikewire.ParseSignatureAlgorithm(a.Algorithm)
		return len(a.Algorithm) == 0 || err == nil && known == s.algorithm
	})
}

// sign makes the payload and verifies it, so that a signer that errs (RSA by CRT, a fault) gives nothing away.
func (s scheme) sign(random io.Reader, signer crypto.Signer, octets []byte) (ikewire.AUTH, error) {
	hash, options := s.options()
	value, err := signer.Sign(random, digest(hash, octets), options)
	if err != nil {
		return ikewire.AUTH{}, err
	}
	if curve, _ := curveOf(s.method); curve != nil {
		raw, ok := derToRaw(curve, value)
		if !ok {
			return ikewire.AUTH{}, errors.New("the signer's answer is no ECDSA signature")
		}
		value = raw
	}
	if r := (signature{s.method, s.algorithm, value}).verify(signer.Public(), octets); r != nil {
		return ikewire.AUTH{}, fmt.Errorf("the signer's answer is wrong: %w", r)
	}
	if s.method == ikewire.AuthDigitalSig {
		return ikewire.NewDigitalSignature(s.algorithm.AlgorithmIdentifier(), value)
	}
	return ikewire.AUTH{Method: s.method, Data: value}, nil
}

// options are what crypto.Signer wants: the hash, and for PSS the salt's length.
func (s scheme) options() (crypto.Hash, crypto.SignerOpts) {
	if s.method == ikewire.AuthRSA {
		return crypto.SHA256, crypto.SHA256
	}
	if curve, hash := curveOf(s.method); curve != nil {
		return hash, hash
	}
	hash := hashOf(s.algorithm.Hash())
	switch s.algorithm {
	case ikewire.SignRSAPSSSHA256, ikewire.SignRSAPSSSHA384, ikewire.SignRSAPSSSHA512:
		return hash, pssOptions(hash)
	}
	return hash, hash
}
