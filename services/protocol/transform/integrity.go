package transform

import (
	"fmt"
	"strings"
)

// Integrity algorithms, IANA "Transform Type 3".
const (
	IntegNone             uint16 = 0
	IntegHMACSHA1_96      uint16 = 2  // RFC 2404
	IntegAESXCBC96        uint16 = 5  // RFC 3566
	IntegAESCMAC96        uint16 = 8  // RFC 4494
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
	Name   string // as in a strongSwan proposal
	ID     uint16 // IANA Transform ID
	KeyLen int    // exact: RFC 4868 section 2.1.1 and the others fix it
	ICVLen int    // of the packet; the MAC's first bytes
	RFC    uint16 // that defines it
	Status Status // for ESP and AH, in RFC 8221 section 6
	IKE    Status // for IKEv2, in RFC 8247 section 2.3
}

// integrities is the table, most wanted first. It is never written.
//
// AES-XCBC-96 is SHOULD for the Internet of Things only, in both RFCs.
var integrities = [...]Integrity{
	{"sha256", IntegHMACSHA2_256_128, 32, 16, 4868, Must, Must},
	{"sha512", IntegHMACSHA2_512_256, 64, 32, 4868, Should, Should},
	{"sha384", IntegHMACSHA2_384_192, 48, 24, 4868, May, May},
	{"aescmac", IntegAESCMAC96, 16, 12, 4494, May, May},
	{"aesxcbc", IntegAESXCBC96, 16, 12, 3566, May, Should},
	{"sha1", IntegHMACSHA1_96, 20, 12, 2404, MustMinus, MustMinus},
	{"blake2s128", IntegBLAKE2s128, 32, 16, 7693, May, May},
}

// Integrities returns all rows in the table's order, without NONE. The slice is the caller's.
func Integrities() []Integrity {
	return append([]Integrity(nil), integrities[:]...)
}

// IntegrityByName returns the row of that name. Errors: ErrForbidden, or ErrUnknown with
// the names there are.
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
