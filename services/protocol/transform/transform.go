// Package transform is the one table of IPsec and IKEv2 algorithms: IANA's
// "Transform Type Values" of IKEv2 with the names that strongSwan's proposals use,
// the lengths that the wire format needs and the status that RFC 8221 (ESP, AH) and
// RFC 8247 (IKEv2) give them.
//
// An algorithm that these RFCs forbid is not in the table, so that it cannot be used;
// asking for it is answered with ErrForbidden. Encryption without integrity does not
// exist either: a Suite is a combined-mode algorithm alone or a cipher with an
// integrity algorithm, and anything else is answered with ErrNoIntegrity.
//
// What Go's library lacks is built over crypto/aes: CCM, GCM with an 8-byte ICV,
// GMAC as a transform of ESP and of AH, CMAC, XCBC and the PRFs made of them, counter mode
// without an allocation per packet.
package transform

import "errors"

// Type is an IKEv2 Transform Type, RFC 7296 section 3.3.2.
type Type uint8

// Transform types.
const (
	TypeEncryption Type = 1 // ENCR
	TypePRF        Type = 2 // PRF
	TypeIntegrity  Type = 3 // INTEG
)

// PrivateUse is the first Transform ID that IANA leaves to private use, in every type.
const PrivateUse uint16 = 1024

// Status is an implementation requirement of RFC 8221 or RFC 8247, weakest first.
type Status uint8

// Statuses. An algorithm that the RFC does not list counts as May.
const (
	MustNot Status = iota
	ShouldNot
	May
	Should
	MustMinus // still MUST, expected to be lowered
	Must
)

// String returns the RFC 2119 word.
func (s Status) String() string {
	switch s {
	case ShouldNot:
		return "SHOULD NOT"
	case May:
		return "MAY"
	case Should:
		return "SHOULD"
	case MustMinus:
		return "MUST-"
	case Must:
		return "MUST"
	}
	return "MUST NOT"
}

var (
	// ErrUnknown: the table has no such transform.
	ErrUnknown = errors.New("transform: unknown transform")
	// ErrForbidden: RFC 8221, or of a PRF RFC 8247, says that the transform MUST NOT be used. There
	// is no way to get it.
	ErrForbidden = errors.New("transform: RFC 8221 says MUST NOT")
	// ErrInsecure: RFC 8221 says that the transform SHOULD NOT be used; only a lookup that
	// says "insecure" finds it.
	ErrInsecure = errors.New("transform: RFC 8221 says SHOULD NOT")
	// ErrNoIntegrity: encryption that nothing authenticates, RFC 8221 section 4.
	ErrNoIntegrity = errors.New("transform: RFC 8221 section 4: encryption without integrity MUST NOT be used")
	// ErrTwoIntegrities: a combined-mode algorithm together with an integrity algorithm,
	// RFC 8221 section 4, RFC 7296 section 3.3.
	ErrTwoIntegrities = errors.New("transform: a combined-mode algorithm takes no integrity algorithm")
	// ErrAHOnly: an integrity algorithm that ESP has no place for, with a cipher (RFC 4543 section 4).
	ErrAHOnly = errors.New("transform: this integrity algorithm is for AH only")
	// ErrKeyLength: the key material is not exactly as long as the transform needs.
	ErrKeyLength = errors.New("transform: wrong length of key material")
	// ErrOutputLength: prf+ cannot give so much, RFC 7296 section 2.13.
	ErrOutputLength = errors.New("transform: RFC 7296 section 2.13: prf+ gives 255 blocks at most")
)
