package ikewire

import (
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// SignatureAlgorithm is what the AlgorithmIdentifier of a digital signature (method 14,
// RFC 7427 section 3) says. SHA-1 and DSA, which RFC 8247 forbids, do not exist here.
type SignatureAlgorithm uint8

// Signature algorithms. PSS has MGF1 with the same hash and a salt of the hash's length.
const (
	SignRSAPKCS1SHA256 SignatureAlgorithm = iota + 1 // RFC 7427 appendix A.1
	SignRSAPKCS1SHA384                               // A.1
	SignRSAPKCS1SHA512                               // A.1
	SignECDSASHA256                                  // A.3, any curve
	SignECDSASHA384                                  // A.3
	SignECDSASHA512                                  // A.3
	SignRSAPSSSHA256                                 // A.4
	SignRSAPSSSHA384                                 // A.4
	SignRSAPSSSHA512                                 // A.4
	SignEd25519                                      // RFC 8420 appendix A.1
	SignEd448                                        // RFC 8420 appendix A.2
)

// String returns the algorithm's usual name.
func (a SignatureAlgorithm) String() string {
	switch a {
	case SignRSAPKCS1SHA256:
		return "RSA PKCS#1 v1.5 with SHA2-256"
	case SignRSAPKCS1SHA384:
		return "RSA PKCS#1 v1.5 with SHA2-384"
	case SignRSAPKCS1SHA512:
		return "RSA PKCS#1 v1.5 with SHA2-512"
	case SignECDSASHA256:
		return "ECDSA with SHA2-256"
	case SignECDSASHA384:
		return "ECDSA with SHA2-384"
	case SignECDSASHA512:
		return "ECDSA with SHA2-512"
	case SignRSAPSSSHA256:
		return "RSASSA-PSS with SHA2-256"
	case SignRSAPSSSHA384:
		return "RSASSA-PSS with SHA2-384"
	case SignRSAPSSSHA512:
		return "RSASSA-PSS with SHA2-512"
	case SignEd25519:
		return "Ed25519"
	case SignEd448:
		return "Ed448"
	}
	return fmt.Sprintf("signature algorithm %d", uint8(a))
}

// Hash returns the hash that the peer must have announced in SIGNATURE_HASH_ALGORITHMS
// (RFC 7427 section 4), 0 for a value that is none of the algorithms.
func (a SignatureAlgorithm) Hash() HashAlgorithm {
	switch a {
	case SignRSAPKCS1SHA256, SignECDSASHA256, SignRSAPSSSHA256:
		return HashSHA256
	case SignRSAPKCS1SHA384, SignECDSASHA384, SignRSAPSSSHA384:
		return HashSHA384
	case SignRSAPKCS1SHA512, SignECDSASHA512, SignRSAPSSSHA512:
		return HashSHA512
	case SignEd25519, SignEd448:
		return HashIdentity
	}
	return 0
}

func signatureAlgorithms() []SignatureAlgorithm {
	var all []SignatureAlgorithm
	for a := SignRSAPKCS1SHA256; a <= SignEd448; a++ {
		all = append(all, a)
	}
	return all
}

func (a SignatureAlgorithm) oid() asn1.ObjectIdentifier {
	switch a {
	case SignRSAPKCS1SHA256:
		return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	case SignRSAPKCS1SHA384:
		return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}
	case SignRSAPKCS1SHA512:
		return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}
	case SignECDSASHA256:
		return asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	case SignECDSASHA384:
		return asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}
	case SignECDSASHA512:
		return asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}
	case SignRSAPSSSHA256, SignRSAPSSSHA384, SignRSAPSSSHA512:
		return oidPSS()
	case SignEd25519:
		return asn1.ObjectIdentifier{1, 3, 101, 112}
	case SignEd448:
		return asn1.ObjectIdentifier{1, 3, 101, 113}
	}
	return nil
}

func (a SignatureAlgorithm) pss() bool { return a >= SignRSAPSSSHA256 && a <= SignRSAPSSSHA512 }

// nullParameters: RFC 4055 section 5 wants NULL with RSA PKCS#1 v1.5.
func (a SignatureAlgorithm) nullParameters() bool {
	return a >= SignRSAPKCS1SHA256 && a <= SignRSAPKCS1SHA512
}

// AlgorithmIdentifier returns the DER that goes before the signature, byte for byte as in
// the RFCs' appendices; nil for a value that is none of the algorithms.
func (a SignatureAlgorithm) AlgorithmIdentifier() []byte {
	oid := a.oid()
	if oid == nil {
		return nil
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		switch {
		case a.pss():
			addPSSParameters(b, a.Hash())
		case a.nullParameters():
			b.AddASN1NULL()
		}
	})
	return b.BytesOrPanic() // built of constants: it cannot fail
}

// ParseSignatureAlgorithm reads the DER of an AlgorithmIdentifier. Absent parameters
// count as NULL where RFC 4055 section 2.1 has NULL, as receivers must accept both; any
// other deviation makes the algorithm unknown. Error: ErrValue.
func ParseSignatureAlgorithm(der []byte) (SignatureAlgorithm, error) {
	unknown := fmt.Errorf("ikewire: %w: signature algorithm %x", ErrValue, der)
	s := cryptobyte.String(der)
	oid, parameters, ok := readAlgorithm(&s)
	if !ok || !s.Empty() {
		return 0, unknown
	}
	var hash HashAlgorithm
	if oid.Equal(oidPSS()) {
		if hash, ok = readPSSParameters(parameters); !ok {
			return 0, unknown
		}
	}
	for _, a := range signatureAlgorithms() {
		switch {
		case !a.oid().Equal(oid), a.pss() && a.Hash() != hash:
		case a.pss(), len(parameters) == 0, a.nullParameters() && isNULL(parameters):
			return a, nil
		}
	}
	return 0, unknown
}

// readAlgorithm reads SEQUENCE { OBJECT IDENTIFIER, ANY OPTIONAL }.
func readAlgorithm(s *cryptobyte.String) (asn1.ObjectIdentifier, cryptobyte.String, bool) {
	var sequence, parameters cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !s.ReadASN1(&sequence, cbasn1.SEQUENCE) || !sequence.ReadASN1ObjectIdentifier(&oid) {
		return nil, nil, false
	}
	if sequence.Empty() {
		return oid, nil, true
	}
	var tag cbasn1.Tag
	ok := sequence.ReadAnyASN1Element(&parameters, &tag) && sequence.Empty()
	return oid, parameters, ok
}

func isNULL(der []byte) bool { return len(der) == 2 && der[0] == uint8(cbasn1.NULL) && der[1] == 0 }
