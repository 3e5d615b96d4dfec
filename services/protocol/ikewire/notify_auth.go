package ikewire

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// HashAlgorithm is IANA's "IKEv2 Hash Algorithms", RFC 7427 section 4.
type HashAlgorithm uint16

// Hash algorithms.
const (
	HashSHA1        HashAlgorithm = 1 // RFC 7427; RFC 8247: must not
	HashSHA256      HashAlgorithm = 2 // RFC 7427
	HashSHA384      HashAlgorithm = 3 // RFC 7427
	HashSHA512      HashAlgorithm = 4 // RFC 7427
	HashIdentity    HashAlgorithm = 5 // RFC 8420: the signature scheme hashes by itself
	HashStreebog256 HashAlgorithm = 6 // RFC 9385
	HashStreebog512 HashAlgorithm = 7 // RFC 9385
)

// String returns IANA's name.
func (h HashAlgorithm) String() string {
	switch h {
	case HashSHA1:
		return "SHA1"
	case HashSHA256:
		return "SHA2-256"
	case HashSHA384:
		return "SHA2-384"
	case HashSHA512:
		return "SHA2-512"
	case HashIdentity:
		return "Identity"
	case HashStreebog256:
		return "STREEBOG_256"
	case HashStreebog512:
		return "STREEBOG_512"
	}
	return fmt.Sprintf("hash algorithm %d", uint16(h))
}

// HashAlgorithms returns the data of SIGNATURE_HASH_ALGORITHMS, unknown ones too. Errors:
// ErrLength, ErrTooMany.
func (n Notify) HashAlgorithms() ([]HashAlgorithm, error) {
	b, err := n.bytes(2, MaxMessage, SignatureHashAlgorithms)
	if err != nil {
		return nil, err
	}
	if len(b)%2 != 0 {
		return nil, n.badLength()
	}
	if len(b)/2 > MaxNotifyItems {
		return nil, fmt.Errorf("%s: %w: %d", n.Type, ErrTooMany, len(b)/2)
	}
	hashes := make([]HashAlgorithm, 0, len(b)/2)
	for ; len(b) > 0; b = b[2:] {
		hashes = append(hashes, HashAlgorithm(binary.BigEndian.Uint16(b)))
	}
	return hashes, nil
}

// NewHashAlgorithms returns a SIGNATURE_HASH_ALGORITHMS notify.
func NewHashAlgorithms(hashes []HashAlgorithm) Notify {
	n := Notify{Type: SignatureHashAlgorithms}
	for _, h := range hashes {
		n.Data = binary.BigEndian.AppendUint16(n.Data, uint16(h))
	}
	return n
}

// AuthAnnouncement is one announcement of SUPPORTED_AUTH_METHODS, RFC 9593 section 3.2.
type AuthAnnouncement struct {
	Method    AuthMethod // section 3.2
	CertLink  uint8      // 3.2.2: number of a CA in CERTREQ, 0 for any; of announcements longer than 2
	Algorithm []byte     // 3.2.3: DER of an AlgorithmIdentifier, for method 14; else empty
}

// AuthAnnouncements returns the data of SUPPORTED_AUTH_METHODS. Errors: ErrTruncated,
// ErrLength, ErrTooMany.
func (n Notify) AuthAnnouncements() ([]AuthAnnouncement, error) {
	if err := n.want(SupportedAuthMethods); err != nil {
		return nil, err
	}
	var all []AuthAnnouncement
	for s := cryptobyte.String(n.Data); !s.Empty(); {
		var length, method uint8
		var rest cryptobyte.String
		if len(all) == MaxNotifyItems {
			return nil, fmt.Errorf("%s: %w", n.Type, ErrTooMany)
		}
		if !s.ReadUint8(&length) || !s.ReadUint8(&method) {
			return nil, fmt.Errorf("%s: %w", n.Type, ErrTruncated)
		}
		if length < 2 {
			return nil, fmt.Errorf("%s: %w: announcement of %d bytes", n.Type, ErrLength, length)
		}
		if !s.ReadBytes((*[]byte)(&rest), int(length)-2) {
			return nil, fmt.Errorf("%s: %w", n.Type, ErrTruncated)
		}
		a := AuthAnnouncement{Method: AuthMethod(method)}
		if rest.ReadUint8(&a.CertLink) {
			a.Algorithm = free(rest)
		}
		all = append(all, a)
	}
	return all, nil
}

// withoutCert reports whether the method has nothing to do with a CA, RFC 9593 section 3.2.1.
func (m AuthMethod) withoutCert() bool {
	return m == AuthSharedKey || m == AuthPassword || m == AuthNull
}

// NewAuthAnnouncements returns a SUPPORTED_AUTH_METHODS notify. Methods without a CA take
// two bytes, the others carry the link. Errors: ErrLength for an
// algorithm longer than 252 bytes.
func NewAuthAnnouncements(all []AuthAnnouncement) (Notify, error) {
	n := Notify{Type: SupportedAuthMethods}
	for _, a := range all {
		short := len(a.Algorithm) == 0 && a.CertLink == 0 && a.Method.withoutCert()
		switch {
		case short:
			n.Data = append(n.Data, 2, uint8(a.Method))
		case len(a.Algorithm) > 0xff-3:
			return Notify{}, fmt.Errorf("%s: %w: algorithm of %d bytes", n.Type, ErrLength, len(a.Algorithm))
		default:
			n.Data = append(n.Data, uint8(3+len(a.Algorithm)), uint8(a.Method), a.CertLink)
			n.Data = append(n.Data, a.Algorithm...)
		}
	}
	return n, nil
}
