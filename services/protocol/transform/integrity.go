package transform

import (
	"fmt"
	"strings"
)

// Integrity algorithms, IANA "Transform Type 3".
const (
	IntegNone             uint16 = 0
	IntegHMACSHA1_96      uint16 = 2 // RFC 2404
	IntegAESXCBC96        uint16 = 5 // RFC 3566
	IntegAESCMAC96        uint16 = 8 // RFC 4494
	IntegAES128GMAC       uint16 = 9 // RFC 4543 section 4, for AH only
	IntegAES192GMAC       uint16 = 10
	IntegAES256GMAC       uint16 = 11
	IntegHMACSHA2_256_128 uint16 = 12 // RFC 4868
	IntegHMACSHA2_384_192 uint16 = 13
	IntegHMACSHA2_512_256 uint16 = 14
	// IntegBLAKE2s128 is keyed BLAKE2s with a digest of 16 bytes, RFC 7693. IANA has no number
	// for it: this one is of the private-use range, and only our own hosts know it.
	IntegBLAKE2s128 = PrivateUse + 0x2b5
)

// Integrity is one row of the table: an integrity algorithm. The zero value is NONE,
// for combined modes only. Lengths are in bytes.
type Integrity struct {
	Name    string // as in a strongSwan proposal
	ID      uint16 // IANA Transform ID
	KeyLen  int    // exact: RFC 4868 section 2.1.1 and the others fix it
	SaltLen int    // follows the key in the key material; the nonce begins with it
	IVLen   int    // explicit, in each packet before the ICV; only what is for AH only has one
	ICVLen  int    // of the packet; the MAC's first bytes
	RFC     uint16 // that defines it
	Status  Status // for ESP and AH, in RFC 8221 section 6
	IKE     Status // for IKEv2, in RFC 8247 section 2.3; MustNot where it cannot protect messages
}

// integrities is the table, most wanted first. It is never written.
//
// AES-XCBC-96 is SHOULD for the Internet of Things only, in both RFCs. AES-GMAC is not in
// RFC 8247: IKEv2 messages and ESP with a cipher have no place for its IV.
var integrities = [...]Integrity{
	{"sha256", IntegHMACSHA2_256_128, 32, 0, 0, 16, 4868, Must, Must},
	{"sha512", IntegHMACSHA2_512_256, 64, 0, 0, 32, 4868, Should, Should},
	{"sha384", IntegHMACSHA2_384_192, 48, 0, 0, 24, 4868, May, May},
	{"aescmac", IntegAESCMAC96, 16, 0, 0, 12, 4494, May, May},
	{"aesxcbc", IntegAESXCBC96, 16, 0, 0, 12, 3566, May, Should},
	{"sha1", IntegHMACSHA1_96, 20, 0, 0, 12, 2404, MustMinus, MustMinus},
	{"blake2s128", IntegBLAKE2s128, 32, 0, 0, 16, 7693, May, May},
	{"aes128gmac", IntegAES128GMAC, 16, 4, 8, 16, 4543, May, MustNot},
	{"aes192gmac", IntegAES192GMAC, 24, 4, 8, 16, 4543, May, MustNot},
	{"aes256gmac", IntegAES256GMAC, 32, 4, 8, 16, 4543, May, MustNot},
}

// Integrities returns the rows that go with a cipher in ESP, in the table's order, without
// NONE. The slice is the caller's.
func Integrities() []Integrity {
	var rows []Integrity
	for _, i := range integrities {
		if !i.AHOnly() {
			rows = append(rows, i)
		}
	}
	return rows
}

// AHIntegrities returns the rows that AH can use, which are all, in the table's order,
// without NONE. The slice is the caller's.
func AHIntegrities() []Integrity {
	return append([]Integrity(nil), integrities[:]...)
}

// IntegrityByName returns the row of that name, which for AH is the whole proposal. Those
// for AH only have the names of ESP's AES-GMAC, as strongSwan has it. Errors: ErrForbidden,
// or ErrUnknown with the names there are.
func IntegrityByName(name string) (Integrity, error) {
	var names []string
	for _, i := range integrities {
		if i.Name == name {
			return i, nil
		}
		names = append(names, i.Name)
	}
	if isForbiddenName(TypeIntegrity, name) {
		return Integrity{}, fmt.Errorf("%w: integrity %q", ErrForbidden, name)
	}
	return Integrity{}, fmt.Errorf("%w: integrity %q; there are %s", ErrUnknown, name, strings.Join(names, ", "))
}

// IntegrityByID returns the row of an IANA Transform ID; 0 is NONE, the zero value.
// Errors: ErrForbidden, ErrUnknown.
func IntegrityByID(id uint16) (Integrity, error) {
	if id == IntegNone {
		return Integrity{}, nil
	}
	for _, i := range integrities {
		if i.ID == id {
			return i, nil
		}
	}
	if isForbiddenID(TypeIntegrity, id) {
		return Integrity{}, fmt.Errorf("%w: integrity ID %d", ErrForbidden, id)
	}
	return Integrity{}, fmt.Errorf("%w: integrity ID %d", ErrUnknown, id)
}

// check returns ErrUnknown for a row that is not in the table as it stands.
func (i Integrity) check() error {
	if row, err := IntegrityByID(i.ID); err != nil || row != i {
		return fmt.Errorf("%w: integrity %q is not as in the table", ErrUnknown, i.Name)
	}
	return nil
}

// KeymatLen is the length of the key material: key, then salt (RFC 4543 section 5.4).
func (i Integrity) KeymatLen() int { return i.KeyLen + i.SaltLen }

// AHLen is the length of AH's ICV field without padding: the IV, if there is one, and the
// ICV (RFC 4543 section 4).
func (i Integrity) AHLen() int { return i.IVLen + i.ICVLen }

// AHOnly reports whether only AH can use it: ESP with a separate integrity algorithm has no
// place for its IV. What ESP has of AES-GMAC is the combined mode ENCR_NULL_AUTH_AES_GMAC.
func (i Integrity) AHOnly() bool { return i.IVLen > 0 }

// None reports whether it is NONE.
func (i Integrity) None() bool { return i == Integrity{} }

// Private reports whether the ID is of the private-use range: to be offered to our own
// hosts only.
func (i Integrity) Private() bool { return i.ID >= PrivateUse }

// String returns the name, "none" for NONE.
func (i Integrity) String() string {
	if i.None() {
		return "none"
	}
	return i.Name
}
