package transform

import (
	"fmt"
	"strings"
)

// Pseudorandom functions, IANA "Transform Type 2".
const (
	PRFAES128XCBC   uint16 = 4 // RFC 4434
	PRFHMACSHA2_256 uint16 = 5 // RFC 4868
	PRFHMACSHA2_384 uint16 = 6
	PRFHMACSHA2_512 uint16 = 7
	PRFAES128CMAC   uint16 = 8 // RFC 4615
)

// PRF is one row of the table: a pseudorandom function. Lengths are in bytes.
type PRF struct {
	Name      string // as in a strongSwan proposal
	ID        uint16 // IANA Transform ID
	KeyLen    int    // the preferred key: of SK_d, SK_pi, SK_pr (RFC 7296 section 2.13)
	OutputLen int
	Fixed     bool   // the key has a fixed length; other lengths are made to fit (RFC 4434, RFC 4615)
	RFC       uint16 // that defines its use in IKEv2
	Status    Status // in RFC 8247 section 2.2
}

// prfs is the table, most wanted first. It is never written.
//
// PRF_AES128_XCBC is SHOULD for the Internet of Things only. RFC 8247 has SHOULD+ for SHA2-512.
// PRF_HMAC_SHA1, which it calls MUST-, is left out: there is no peer left that has nothing better.
var prfs = [...]PRF{
	{"prfsha256", PRFHMACSHA2_256, 32, 32, false, 4868, Must},
	{"prfsha512", PRFHMACSHA2_512, 64, 64, false, 4868, Should},
	{"prfsha384", PRFHMACSHA2_384, 48, 48, false, 4868, May},
	{"prfaescmac", PRFAES128CMAC, 16, 16, true, 4615, May},
	{"prfaesxcbc", PRFAES128XCBC, 16, 16, true, 4434, Should},
}

// PRFs returns the rows of the table, in its order. The slice is the caller's.
func PRFs() []PRF { return append([]PRF(nil), prfs[:]...) }

// PRFByName returns the row of that name. Errors: ErrForbidden, or ErrUnknown with the names
// there are.
func PRFByName(name string) (PRF, error) {
	var names []string
	for _, p := range prfs {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	if isForbiddenName(TypePRF, name) {
		return PRF{}, forbiddenPRF(fmt.Sprintf("%q", name))
	}
	return PRF{}, fmt.Errorf("%w: PRF %q; there are %s", ErrUnknown, name, strings.Join(names, ", "))
}

// PRFByID returns the row of an IANA Transform ID. Errors: ErrForbidden, ErrUnknown.
func PRFByID(id uint16) (PRF, error) {
	for _, p := range prfs {
		if p.ID == id {
			return p, nil
		}
	}
	if isForbiddenID(TypePRF, id) {
		return PRF{}, forbiddenPRF(fmt.Sprintf("ID %d", id))
	}
	return PRF{}, fmt.Errorf("%w: PRF ID %d", ErrUnknown, id)
}

// forbiddenPRF is ErrForbidden with the RFC that says so of a PRF: RFC 8221 has none.
type forbiddenPRF string

func (e forbiddenPRF) Error() string { return "transform: RFC 8247 says MUST NOT: PRF " + string(e) }

func (forbiddenPRF) Is(target error) bool { return target == ErrForbidden }

// Check returns ErrUnknown for a row that is not in the table as it stands.
func (p PRF) Check() error {
	if row, err := PRFByID(p.ID); err != nil || row != p {
		return fmt.Errorf("%w: PRF %q is not as in the table", ErrUnknown, p.Name)
	}
	return nil
}

// String returns the name.
func (p PRF) String() string { return p.Name }
