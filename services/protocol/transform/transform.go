// Package transform is the one table of IPsec and IKEv2 algorithms: IANA's
// "Transform Type Values" of IKEv2 with the names that strongSwan's proposals use,
// the lengths that the wire format needs and the status that RFC 8221 gives them.
//
// An algorithm that RFC 8221 forbids is not in the table, so that it cannot be
// asked for.
package transform

import "errors"

// Type is an IKEv2 Transform Type, RFC 7296 section 3.3.2.
type Type uint8

// Transform types.
const (
	TypeEncryption Type = 1 // ENCR
)

// Status is the implementation requirement of RFC 8221, weakest first.
type Status uint8

// Statuses.
const (
	May Status = iota
	Should
	Must
)

// String returns the RFC 2119 word.
func (s Status) String() string {
	switch s {
	case Should:
		return "SHOULD"
	case Must:
		return "MUST"
	}
	return "MAY"
}

var (
	// ErrUnknown: the table has no such transform.
	ErrUnknown = errors.New("transform: unknown transform")
	// ErrKeyLength: the key material is not exactly as long as the transform needs.
	ErrKeyLength = errors.New("transform: wrong length of key material")
)
