package transform

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// Encryption algorithms, IANA "Transform Type 1".
const (
	EncrAESGCM16         uint16 = 20 // AES-GCM with a 16-byte ICV, RFC 4106
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
	Status  Status // in RFC 8221 section 5
}

// encryptions is the table, most wanted first. It is never written.
var encryptions = [...]Encryption{
	{"aes128gcm16", EncrAESGCM16, 128, 16, 4, 8, 16, 4, Must},
	{"aes256gcm16", EncrAESGCM16, 256, 32, 4, 8, 16, 4, Must},
	{"chacha20poly1305", EncrChaCha20Poly1305, 0, 32, 4, 8, 16, 4, Should},
}

// Encryptions returns all rows in the table's order. The slice is the caller's.
func Encryptions() []Encryption {
	return append([]Encryption(nil), encryptions[:]...)
}

// ByName returns the row of that name, or ErrUnknown with the names there are.
func ByName(name string) (Encryption, error) {
	var names []string
	for _, e := range encryptions {
		if e.Name == name {
			return e, nil
		}
		names = append(names, e.Name)
	}
	return Encryption{}, fmt.Errorf("%w: encryption %q; there are %s", ErrUnknown, name, strings.Join(names, ", "))
}

// ByID returns the row of an IANA Transform ID and its Key Length attribute in
// bits, 0 when the attribute is absent; or ErrUnknown. An algorithm of fixed key
// length must come without the attribute (RFC 7296 section 3.3.5).
func ByID(id, keyBits uint16) (Encryption, error) {
	for _, e := range encryptions {
		if e.ID == id && e.KeyBits == keyBits {
			return e, nil
		}
	}
	return Encryption{}, fmt.Errorf("%w: encryption ID %d with key length %d", ErrUnknown, id, keyBits)
}

// KeymatLen is the length of the key material: key, then salt (RFC 4106 section 8.1,
// RFC 7634 section 2).
func (e Encryption) KeymatLen() int { return e.KeyLen + e.SaltLen }

// AEAD reports whether the algorithm supplies its own integrity.
func (e Encryption) AEAD() bool { return e.ICVLen > 0 }

// String returns the name.
func (e Encryption) String() string { return e.Name }

// NewAEAD splits key material of KeymatLen bytes and returns the cipher with the
// salt that begins each nonce. Both are independent of keymat's memory, which the
// caller may then clear. Errors: ErrKeyLength, and ErrUnknown for a row that is
// not from the table.
func (e Encryption) NewAEAD(keymat Keymat) (aead cipher.AEAD, salt []byte, err error) {
	if len(keymat) != e.KeymatLen() {
		return nil, nil, fmt.Errorf("%w: %s needs %d bytes, got %d", ErrKeyLength, e.Name, e.KeymatLen(), len(keymat))
	}
	key := keymat[:e.KeyLen]
	switch e.ID {
	case EncrAESGCM16:
		aead, err = newGCM(key)
	case EncrChaCha20Poly1305:
		aead, err = chacha20poly1305.New(key)
	default:
		err = fmt.Errorf("%w: %q is no AEAD", ErrUnknown, e.Name)
	}
	if err != nil {
		return nil, nil, err
	}
	return aead, append([]byte(nil), keymat[e.KeyLen:]...), nil
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
