// Package keyexchange is the key exchange methods of IKEv2: the classical groups and ML-KEM,
// IANA's "Transform Type 4", with the names that strongSwan's proposals use.
//
//	initiator                                   responder
//	  Initiate ──────── Public, in KE ────────▶ Respond ─▶ secret
//	  Finish   ◀─────── public, in KE ────────
//	    └─▶ secret
//
// For a Diffie-Hellman group both values are public values of the group and the secret is the
// shared one; for a KEM (RFC 9370) the initiator's is an encapsulation key and the responder's
// a ciphertext. What a peer sends is checked before it is used, and a value that fails gives
// ErrPublic and no secret: of exactly the method's length, on the curve and not the identity;
// for MODP between 1 and p-1, neither included (RFC 6989 section 2); an X25519 secret of zeros
// (RFC 7748 section 6.1) and an ML-KEM key that FIPS 203 section 7.2 refuses count as such.
//
// What RFC 8247 calls MUST NOT or SHOULD NOT does not exist here: MODP groups of less than 2048
// bits, and those with small subgroups (22 to 24). Nor do Curve448 and ML-KEM-512, which Go
// has not.
//
// # Timing
//
// The curves and ML-KEM are those of Go's library and run in constant time. MODP is math/big,
// which does not: it is bearable for a private exponent that is fresh and used for one peer
// value, since there is nothing to average over. So make a key for each exchange and finish it
// once, and prefer any other method.
package keyexchange

import (
	"errors"
	"fmt"
	"strings"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// Key exchange methods, IANA "Transform Type 4"; also of types 6 to 12 (RFC 9370).
const (
	MODP2048  uint16 = 14 // RFC 3526
	MODP3072  uint16 = 15
	MODP4096  uint16 = 16
	MODP6144  uint16 = 17
	MODP8192  uint16 = 18
	P256      uint16 = 19 // RFC 5903
	P384      uint16 = 20
	P521      uint16 = 21
	X25519    uint16 = 31 // RFC 8031
	MLKEM768  uint16 = 36 // FIPS 203
	MLKEM1024 uint16 = 37
)

var (
	// ErrUnknown: the table has no such method.
	ErrUnknown = errors.New("keyexchange: unknown method")
	// ErrForbidden: RFC 8247 section 2.4 says that the method MUST NOT or SHOULD NOT be used, or
	// ours is the decision (MODP-1024, 1536). There is no way to get it.
	ErrForbidden = errors.New("keyexchange: too weak to be used (RFC 8247 section 2.4)")
	// ErrPublic: the peer's value is none of the method.
	ErrPublic = errors.New("keyexchange: bad value from the peer")
	// ErrPrivate: the bytes are no marshalled private key of the method.
	ErrPrivate = errors.New("keyexchange: bad private key")
)

// Method is one row of the table. Lengths are in bytes, of the data of a KE payload.
type Method struct {
	Name         string // as in a strongSwan proposal
	ID           uint16 // IANA Transform ID
	KEM          bool   // the responder's value depends on the initiator's
	InitiatorLen int
	ResponderLen int
	Status       transform.Status // in RFC 8247 section 2.4; May where it has none
}

// methods is the table, most wanted first. It is never written.
var methods = [...]Method{
	{"x25519", X25519, false, 32, 32, transform.May},
	{"ecp256", P256, false, 64, 64, transform.Should},
	{"ecp384", P384, false, 96, 96, transform.May},
	{"ecp521", P521, false, 132, 132, transform.May},
	{"mlkem768", MLKEM768, true, 1184, 1088, transform.May},
	{"mlkem1024", MLKEM1024, true, 1568, 1568, transform.May},
	{"modp3072", MODP3072, false, 384, 384, transform.May},
	{"modp4096", MODP4096, false, 512, 512, transform.May},
	{"modp2048", MODP2048, false, 256, 256, transform.Must},
	{"modp6144", MODP6144, false, 768, 768, transform.May},
	{"modp8192", MODP8192, false, 1024, 1024, transform.May},
}

// Methods returns the rows of the table, in its order. The slice is the caller's.
func Methods() []Method { return append([]Method(nil), methods[:]...) }

// ByName returns the row of that name; "curve25519" is X25519 too. Errors: ErrForbidden, or
// ErrUnknown with the names there are.
func ByName(name string) (Method, error) {
	if name == "curve25519" {
		name = "x25519"
	}
	var names []string
	for _, m := range methods {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	switch name {
	case "modp768", "modp1024", "modp1536", "modp1024s160", "modp2048s224", "modp2048s256":
		return Method{}, fmt.Errorf("%w: %q", ErrForbidden, name)
	}
	return Method{}, fmt.Errorf("%w: %q; there are %s", ErrUnknown, name, strings.Join(names, ", "))
}

// ByID returns the row of an IANA Transform ID. Errors: ErrForbidden, ErrUnknown.
func ByID(id uint16) (Method, error) {
	for _, m := range methods {
		if m.ID == id {
			return m, nil
		}
	}
	switch id {
	case 1, 2, 5, 22, 23, 24:
		return Method{}, fmt.Errorf("%w: ID %d", ErrForbidden, id)
	}
	return Method{}, fmt.Errorf("%w: ID %d", ErrUnknown, id)
}

// String returns the name.
func (m Method) String() string { return m.Name }
