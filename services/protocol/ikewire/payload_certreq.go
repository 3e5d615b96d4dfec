package ikewire

import (
	"crypto/sha1" // RFC 7296 section 3.7 fixes it; it only names an authority
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// KeyHash names an authority by the SHA-1 of its SubjectPublicKeyInfo, RFC 7296 section
// 3.7. It is a hint, never proof.
type KeyHash [sha1.Size]byte

// HashKey returns the KeyHash of a DER SubjectPublicKeyInfo.
func HashKey(spki []byte) KeyHash { return sha1.Sum(spki) }

// CERTREQ is the Certificate Request payload.
type CERTREQ struct {
	Encoding CertEncoding // RFC 7296 section 3.7: what is asked for
	Data     []byte       // 3.7: for X.509, hash and URL and OCSP a list of KeyHash; may be empty
}

// PayloadType returns PayloadCERTREQ.
func (CERTREQ) PayloadType() PayloadType { return PayloadCERTREQ }

// NewCERTREQ returns a request for certificates under the authorities.
func NewCERTREQ(e CertEncoding, authorities []KeyHash) CERTREQ {
	p := CERTREQ{Encoding: e}
	for _, a := range authorities {
		p.Data = append(p.Data, a[:]...)
	}
	return p
}

// Authorities returns the list that the data is for encodings 4, 12, 13 and, of OCSP
// responders (RFC 4806 section 3.1), 14. Errors: ErrValue for other encodings.
func (p CERTREQ) Authorities() ([]KeyHash, error) {
	if !p.listsKeys() {
		return nil, fmt.Errorf("%w: a request for %s lists no authorities", ErrValue, p.Encoding)
	}
	hashes := make([]KeyHash, len(p.Data)/sha1.Size)
	for i := range hashes {
		copy(hashes[i][:], p.Data[i*sha1.Size:])
	}
	return hashes, nil
}

func (p CERTREQ) listsKeys() bool {
	switch p.Encoding {
	case CertX509Signature, CertHashAndURL, CertHashAndBundle, CertOCSPContent:
		return true
	}
	return false
}

func parseCERTREQ(s cryptobyte.String) (CERTREQ, error) {
	var encoding uint8
	if !s.ReadUint8(&encoding) {
		return CERTREQ{}, ErrTruncated
	}
	return CERTREQ{Encoding: CertEncoding(encoding), Data: free(s)}, nil
}

func (p CERTREQ) check() error {
	if p.listsKeys() && len(p.Data)%sha1.Size != 0 {
		return fmt.Errorf("%w: list of SHA-1 hashes of %d bytes", ErrLength, len(p.Data))
	}
	return nil
}

func (p CERTREQ) appendBody(b []byte) []byte { return append(append(b, uint8(p.Encoding)), p.Data...) }
