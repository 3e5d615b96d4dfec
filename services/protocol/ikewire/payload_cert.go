package ikewire

import (
	"crypto/sha1" // RFC 7296 section 3.6 fixes it; the certificate is verified anyway
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// CertEncoding is IANA's "IKEv2 Certificate Encodings", RFC 7296 section 3.6.
type CertEncoding uint8

// Certificate encodings.
const (
	CertPKCS7          CertEncoding = 1  // unspecified by RFC 7296
	CertPGP            CertEncoding = 2  // unspecified by RFC 7296
	CertDNSSignedKey   CertEncoding = 3  // unspecified by RFC 7296
	CertX509Signature  CertEncoding = 4  // DER certificate
	CertKerberosToken  CertEncoding = 6  // unspecified by RFC 7296
	CertCRL            CertEncoding = 7  // DER CRL
	CertARL            CertEncoding = 8  // unspecified by RFC 7296
	CertSPKI           CertEncoding = 9  // unspecified by RFC 7296
	CertX509Attribute  CertEncoding = 10 // unspecified by RFC 7296
	CertRawRSAKey      CertEncoding = 11 // deprecated
	CertHashAndURL     CertEncoding = 12 // SHA-1 and URL of a certificate
	CertHashAndBundle  CertEncoding = 13 // SHA-1 and URL of a bundle
	CertOCSPContent    CertEncoding = 14 // RFC 4806: DER OCSPResponse
	CertRawPublicKey   CertEncoding = 15 // RFC 7670: DER SubjectPublicKeyInfo
	hashAndURLHashLen               = sha1.Size
	maxHashAndURLBytes              = hashAndURLHashLen + 2048
)

// String returns a short form of IANA's name.
func (e CertEncoding) String() string {
	switch e {
	case CertPKCS7:
		return "PKCS #7 wrapped X.509 certificate"
	case CertPGP:
		return "PGP certificate"
	case CertDNSSignedKey:
		return "DNS signed key"
	case CertX509Signature:
		return "X.509 certificate - signature"
	case CertKerberosToken:
		return "Kerberos token"
	case CertCRL:
		return "certificate revocation list"
	case CertARL:
		return "authority revocation list"
	case CertSPKI:
		return "SPKI certificate"
	case CertX509Attribute:
		return "X.509 certificate - attribute"
	case CertRawRSAKey:
		return "raw RSA key"
	case CertHashAndURL:
		return "hash and URL of X.509 certificate"
	case CertHashAndBundle:
		return "hash and URL of X.509 bundle"
	case CertOCSPContent:
		return "OCSP content"
	case CertRawPublicKey:
		return "raw public key"
	}
	return fmt.Sprintf("certificate encoding %d", uint8(e))
}

// CERT is the Certificate payload.
type CERT struct {
	Encoding CertEncoding // RFC 7296 section 3.6
	Data     []byte       // 3.6; not empty
}

// PayloadType returns PayloadCERT.
func (CERT) PayloadType() PayloadType { return PayloadCERT }

// HashAndURL splits the data of the two hash-and-URL encodings. The URL is what the peer
// wrote: printable ASCII of at most 2048 bytes. Errors: ErrValue, ErrLength.
func (p CERT) HashAndURL() (hash [sha1.Size]byte, url string, err error) {
	if p.Encoding != CertHashAndURL && p.Encoding != CertHashAndBundle {
		return hash, "", fmt.Errorf("%w: %s is no hash and URL", ErrValue, p.Encoding)
	}
	if len(p.Data) <= hashAndURLHashLen || len(p.Data) > maxHashAndURLBytes {
		return hash, "", fmt.Errorf("%w: hash and URL of %d bytes", ErrLength, len(p.Data))
	}
	copy(hash[:], p.Data)
	text := p.Data[hashAndURLHashLen:]
	if !printable(text, 0x7e) {
		return hash, "", fmt.Errorf("%w: URL %q", ErrValue, text)
	}
	return hash, string(text), nil
}

func parseCERT(s cryptobyte.String) (CERT, error) {
	var encoding uint8
	if !s.ReadUint8(&encoding) {
		return CERT{}, ErrTruncated
	}
	return CERT{Encoding: CertEncoding(encoding), Data: free(s)}, nil
}

func (p CERT) check() error {
	if len(p.Data) == 0 {
		return fmt.Errorf("%w: no certificate data", ErrLength)
	}
	return nil
}

func (p CERT) appendBody(b []byte) []byte { return append(append(b, uint8(p.Encoding)), p.Data...) }
