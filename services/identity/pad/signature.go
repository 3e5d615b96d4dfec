package pad

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"slices"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// signature is an AUTH payload of one of the methods that sign.
type signature struct {
	method    ikewire.AuthMethod
	algorithm ikewire.SignatureAlgorithm // of method 14
	value     []byte
}

// readSignature reads the payload and refuses hashes that we did not announce (RFC 7427 section 4).
func readSignature(c Claim) (signature, *Refusal) {
	s := signature{method: c.AUTH.Method, value: c.AUTH.Data}
	if s.method != ikewire.AuthDigitalSig {
		return s, nil
	}
	der, value, err := c.AUTH.DigitalSignature()
	if err != nil {
		return s, refuse(BadAlgorithm, "", "the peer's AUTH: %v", err)
	}
	if s.algorithm, err = ikewire.ParseSignatureAlgorithm(der); err != nil {
		return s, refuse(BadAlgorithm, "let the peer sign by RSA, ECDSA or EdDSA with SHA2-256, SHA2-384 or SHA2-512",
			"the peer signs by an algorithm that is not used, AlgorithmIdentifier %x", der)
	}
	if !slices.Contains(c.Announced, s.algorithm.Hash()) {
		return s, refuse(HashNotAnnounced, "", "the peer signs by %s, and we did not announce %s", s.algorithm, s.algorithm.Hash())
	}
	s.value = value
	return s, nil
}

// verify verifies the signature by a key. The refusal says whether the key is weak, of another kind than the
// algorithm, or not the signer's.
func (s signature) verify(key crypto.PublicKey, octets []byte) *Refusal {
	if err := CheckKey(key); err != nil {
		return refuse(WeakKey, "give the peer a key of RSA 3072, ECDSA P-256 or Ed25519", "%v", err)
	}
	fits, ok := false, false
	switch s.method {
	case ikewire.AuthDigitalSig:
		fits, ok = verifyAlgorithm(s.algorithm, key, octets, s.value)
	case ikewire.AuthRSA:
		fits, ok = verifyRSA(key, octets, s.value)
	default:
		fits, ok = verifyCurve(s.method, key, octets, s.value)
	}
	switch {
	case !fits:
		return refuse(WrongKeyType, "", "a signature by %s, and a key of %s", s, KeyName(key))
	case !ok:
		return refuse(BadSignature, "see that the peer uses the private key that belongs to the public one",
			"the signature by %s does not verify with the key of %s", s, KeyName(key))
	}
	return nil
}

// String names the method, or method 14's algorithm.
func (s signature) String() string {
	if s.method == ikewire.AuthDigitalSig {
		return s.algorithm.String()
	}
	return s.method.String()
}

// verifyAlgorithm is method 14: the algorithm and the key must be of one kind. Go's verification of PKCS #1
// v1.5 compares the whole encoded message, that of ECDSA reads strict DER, and all want the exact length.
func verifyAlgorithm(a ikewire.SignatureAlgorithm, key crypto.PublicKey, octets, value []byte) (fits, ok bool) {
	hash := hashOf(a.Hash())
	switch k := key.(type) {
	case *rsa.PublicKey:
		switch a {
		case ikewire.SignRSAPKCS1SHA256, ikewire.SignRSAPKCS1SHA384, ikewire.SignRSAPKCS1SHA512:
			return true, rsa.VerifyPKCS1v15(k, hash, digest(hash, octets), value) == nil
		case ikewire.SignRSAPSSSHA256, ikewire.SignRSAPSSSHA384, ikewire.SignRSAPSSSHA512:
			return true, rsa.VerifyPSS(k, hash, digest(hash, octets), value, pssOptions(hash)) == nil
		}
	case *ecdsa.PublicKey:
		switch a {
		case ikewire.SignECDSASHA256, ikewire.SignECDSASHA384, ikewire.SignECDSASHA512:
			return true, ecdsa.VerifyASN1(k, digest(hash, octets), value)
		}
	case ed25519.PublicKey:
		return a == ikewire.SignEd25519, a == ikewire.SignEd25519 && ed25519.Verify(k, octets, value)
	}
	return false, false
}

// verifyRSA is method 1, RFC 7296 section 3.8. The hash is in the encoded message and nowhere else, so each
// that we take is tried.
func verifyRSA(key crypto.PublicKey, octets, value []byte) (fits, ok bool) {
	k, fits := key.(*rsa.PublicKey)
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		ok = ok || fits && rsa.VerifyPKCS1v15(k, h, digest(h, octets), value) == nil
	}
	return fits, ok
}

// verifyCurve is methods 9, 10 and 11, RFC 4754: each is one curve with one hash, and r and s at full length.
func verifyCurve(m ikewire.AuthMethod, key crypto.PublicKey, octets, value []byte) (fits, ok bool) {
	k, isECDSA := key.(*ecdsa.PublicKey)
	curve, hash := curveOf(m)
	if !isECDSA || curve == nil || k.Curve != curve {
		return false, false
	}
	der, ok := rawToDER(curve, value)
	return true, ok && ecdsa.VerifyASN1(k, digest(hash, octets), der)
}

func curveOf(m ikewire.AuthMethod) (elliptic.Curve, crypto.Hash) {
	switch m {
	case ikewire.AuthECDSAP256:
		return elliptic.P256(), crypto.SHA256
	case ikewire.AuthECDSAP384:
		return elliptic.P384(), crypto.SHA384
	case ikewire.AuthECDSAP521:
		return elliptic.P521(), crypto.SHA512
	}
	return nil, 0
}

func hashOf(h ikewire.HashAlgorithm) crypto.Hash {
	switch h {
	case ikewire.HashSHA256:
		return crypto.SHA256
	case ikewire.HashSHA384:
		return crypto.SHA384
	case ikewire.HashSHA512:
		return crypto.SHA512
	}
	return 0
}

// digest returns the hash of b; b itself for an algorithm that hashes by itself.
func digest(h crypto.Hash, b []byte) []byte {
	if h == 0 {
		return bytes.Clone(b)
	}
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}

// pssOptions: the salt has the hash's length, as the AlgorithmIdentifier says.
func pssOptions(h crypto.Hash) *rsa.PSSOptions {
	return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: h}
}
