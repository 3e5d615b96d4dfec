package transform

import (
	"fmt"
	"strings"
)

// Encryption algorithms, IANA "Transform Type 1".
const (
	Encr3DES             uint16 = 3  // RFC 2451
	EncrNull             uint16 = 11 // RFC 2410
	EncrAESCBC           uint16 = 12 // RFC 3602
	EncrAESCTR           uint16 = 13 // RFC 3686
	EncrAESCCM8          uint16 = 14 // AES-CCM with an 8-byte ICV, RFC 4309
	EncrAESCCM12         uint16 = 15
	EncrAESCCM16         uint16 = 16
	EncrAESGCM8          uint16 = 18 // AES-GCM with an 8-byte ICV, RFC 4106
	EncrAESGCM12         uint16 = 19
	EncrAESGCM16         uint16 = 20 // AES-GCM with a 16-byte ICV, RFC 4106
	EncrNullAESGMAC      uint16 = 21 // ENCR_NULL_AUTH_AES_GMAC, RFC 4543
	EncrChaCha20Poly1305 uint16 = 28 // RFC 7634
)

// Encryption is one row of the table: an encryption algorithm at one key length.
// Lengths are in bytes unless the name says bits.
type Encryption struct {
	Name    string // as in a strongSwan proposal
	ID      uint16 // IANA Transform ID
	KeyBits uint16 // the Key Length attribute; 0 for an algorithm that has none
	KeyLen  int    // the cipher's key
	SaltLen int    // follows the key in the key material; the nonce begins with it
	IVLen   int    // explicit, in each packet
	ICVLen  int    // 0 when an integrity transform must supply it
	Block   int    // the ciphertext is a multiple of this, at least 4 (RFC 4303 section 2.4)
	RFC     uint16 // that defines its use in ESP
	Status  Status // for ESP, in RFC 8221 section 5
	IKE     Status // for IKEv2, in RFC 8247 section 2.1; MustNot where nothing is encrypted
}

// encryptions is the table, most wanted first. It is never written.
//
// AES-CCM-8 is SHOULD for the Internet of Things only, with keys of 128 bits.
var encryptions = [...]Encryption{
	{"aes128gcm16", EncrAESGCM16, 128, 16, 4, 8, 16, 4, 4106, Must, Should},
	{"aes256gcm16", EncrAESGCM16, 256, 32, 4, 8, 16, 4, 4106, Must, Should},
	{"chacha20poly1305", EncrChaCha20Poly1305, 0, 32, 4, 8, 16, 4, 7634, Should, Should},
	{"aes192gcm16", EncrAESGCM16, 192, 24, 4, 8, 16, 4, 4106, May, May},
	{"aes128gcm12", EncrAESGCM12, 128, 16, 4, 8, 12, 4, 4106, May, May},
	{"aes192gcm12", EncrAESGCM12, 192, 24, 4, 8, 12, 4, 4106, May, May},
	{"aes256gcm12", EncrAESGCM12, 256, 32, 4, 8, 12, 4, 4106, May, May},
	{"aes128gcm8", EncrAESGCM8, 128, 16, 4, 8, 8, 4, 4106, May, May},
	{"aes192gcm8", EncrAESGCM8, 192, 24, 4, 8, 8, 4, 4106, May, May},
	{"aes256gcm8", EncrAESGCM8, 256, 32, 4, 8, 8, 4, 4106, May, May},
	{"aes128ccm16", EncrAESCCM16, 128, 16, 3, 8, 16, 4, 4309, May, May},
	{"aes192ccm16", EncrAESCCM16, 192, 24, 3, 8, 16, 4, 4309, May, May},
	{"aes256ccm16", EncrAESCCM16, 256, 32, 3, 8, 16, 4, 4309, May, May},
	{"aes128ccm12", EncrAESCCM12, 128, 16, 3, 8, 12, 4, 4309, May, May},
	{"aes192ccm12", EncrAESCCM12, 192, 24, 3, 8, 12, 4, 4309, May, May},
	{"aes256ccm12", EncrAESCCM12, 256, 32, 3, 8, 12, 4, 4309, May, May},
	{"aes128ccm8", EncrAESCCM8, 128, 16, 3, 8, 8, 4, 4309, Should, Should},
	{"aes192ccm8", EncrAESCCM8, 192, 24, 3, 8, 8, 4, 4309, May, May},
	{"aes256ccm8", EncrAESCCM8, 256, 32, 3, 8, 8, 4, 4309, May, May},
	{"aes128", EncrAESCBC, 128, 16, 0, 16, 0, 16, 3602, Must, Must},
	{"aes256", EncrAESCBC, 256, 32, 0, 16, 0, 16, 3602, Must, Must},
	{"aes192", EncrAESCBC, 192, 24, 0, 16, 0, 16, 3602, May, May},
	{"aes128ctr", EncrAESCTR, 128, 16, 4, 8, 0, 4, 3686, May, May},
	{"aes192ctr", EncrAESCTR, 192, 24, 4, 8, 0, 4, 3686, May, May},
	{"aes256ctr", EncrAESCTR, 256, 32, 4, 8, 0, 4, 3686, May, May},
	{"aes128gmac", EncrNullAESGMAC, 128, 16, 4, 8, 16, 4, 4543, May, MustNot},
	{"aes192gmac", EncrNullAESGMAC, 192, 24, 4, 8, 16, 4, 4543, May, MustNot},
	{"aes256gmac", EncrNullAESGMAC, 256, 32, 4, 8, 16, 4, 4543, May, MustNot},
	{"null", EncrNull, 0, 0, 0, 0, 0, 4, 2410, Must, MustNot},
	{"3des", Encr3DES, 0, 24, 0, 8, 0, 8, 2451, ShouldNot, May},
}

// Encryptions returns the rows that ByName and ByID find, in the table's order. The
// slice is the caller's.
func Encryptions() []Encryption {
	var rows []Encryption
	for _, e := range encryptions {
		if e.Status > ShouldNot {
			rows = append(rows, e)
		}
	}
	return rows
}

// ByName returns the row of that name. Errors: ErrForbidden, ErrInsecure, or ErrUnknown
// with the names there are.
func ByName(name string) (Encryption, error) {
	e, err := InsecureByName(name)
	if err != nil {
		return Encryption{}, err
	}
	return e.secure()
}

// InsecureByName is ByName that also finds what SHOULD NOT be used: call it only for an
// operator who has said "insecure".
func InsecureByName(name string) (Encryption, error) {
	var names []string
	for _, e := range encryptions {
		if e.Name == name {
			return e, nil
		}
		if e.Status > ShouldNot {
			names = append(names, e.Name)
		}
	}
	if isForbiddenName(TypeEncryption, name) {
		return Encryption{}, fmt.Errorf("%w: encryption %q", ErrForbidden, name)
	}
	return Encryption{}, fmt.Errorf("%w: encryption %q; there are %s", ErrUnknown, name, strings.Join(names, ", "))
}

// ByID returns the row of an IANA Transform ID and its Key Length attribute in bits, 0
// when the attribute is absent. An algorithm of fixed key length must come without the
// attribute (RFC 7296 section 3.3.5). Errors: ErrForbidden, ErrInsecure, ErrUnknown.
func ByID(id, keyBits uint16) (Encryption, error) {
	e, err := InsecureByID(id, keyBits)
	if err != nil {
		return Encryption{}, err
	}
	return e.secure()
}

// InsecureByID is ByID that also finds what SHOULD NOT be used: call it only for an
// operator who has said "insecure".
func InsecureByID(id, keyBits uint16) (Encryption, error) {
	for _, e := range encryptions {
		if e.ID == id && e.KeyBits == keyBits {
			return e, nil
		}
	}
	if isForbiddenID(TypeEncryption, id) {
		return Encryption{}, fmt.Errorf("%w: encryption ID %d", ErrForbidden, id)
	}
	return Encryption{}, fmt.Errorf("%w: encryption ID %d with key length %d", ErrUnknown, id, keyBits)
}

func (e Encryption) secure() (Encryption, error) {
	if e.Status <= ShouldNot {
		return Encryption{}, fmt.Errorf("%w: encryption %q", ErrInsecure, e.Name)
	}
	return e, nil
}

// check returns ErrUnknown for a row that is not in the table as it stands.
func (e Encryption) check() error {
	if row, err := InsecureByID(e.ID, e.KeyBits); err != nil || row != e {
		return fmt.Errorf("%w: encryption %q is not as in the table", ErrUnknown, e.Name)
	}
	return nil
}

// KeymatLen is the length of the key material: key, then salt (RFC 4106 section 8.1,
// RFC 4309 section 7.1, RFC 4543 section 5.4, RFC 7634 section 2; RFC 3686 section 5.1,
// which calls the salt a nonce).
func (e Encryption) KeymatLen() int { return e.KeyLen + e.SaltLen }

// AEAD reports whether the algorithm supplies its own integrity: a combined mode.
func (e Encryption) AEAD() bool { return e.ICVLen > 0 }

// Confidential reports whether the payload is hidden: not by NULL and GMAC.
func (e Encryption) Confidential() bool { return e.ID != EncrNull && e.ID != EncrNullAESGMAC }

// UnpredictableIV reports whether nobody may be able to tell a packet's IV before it is
// sent: so in CBC (RFC 3602 section 3). The other modes need IVs that never repeat.
func (e Encryption) UnpredictableIV() bool { return e.ID == EncrAESCBC || e.ID == Encr3DES }

// String returns the name.
func (e Encryption) String() string { return e.Name }
