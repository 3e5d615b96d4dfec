package ikekeys

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// Keys are an IKE SA's, RFC 7296 section 2.14. SKa is empty with a combined mode; SKe is the
// cipher's key and salt (RFC 5282 section 7.1, RFC 5930, RFC 7634 section 2).
type Keys struct {
	Suite      Suite
	SKd        transform.Keymat
	SKai, SKar transform.Keymat
	SKei, SKer transform.Keymat
	SKpi, SKpr transform.Keymat
}

// Marshal returns the keys for Unmarshal, without the suite: SK_d | SK_ai | SK_ar | SK_ei |
// SK_er | SK_pi | SK_pr. It is secret: the caller seals it.
func (k *Keys) Marshal() []byte {
	return slices.Concat(k.SKd, k.SKai, k.SKar, k.SKei, k.SKer, k.SKpi, k.SKpr)
}

// Unmarshal reads what Marshal wrote. It keeps no reference to b. Errors: ErrSuite, ErrKeys.
func Unmarshal(s Suite, b []byte) (*Keys, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if len(b) != s.keysLen() {
		return nil, fmt.Errorf("%w: %v needs %d bytes, got %d", ErrKeys, s, s.keysLen(), len(b))
	}
	return split(s, bytes.Clone(b)), nil
}

// split cuts bytes of the right length into keys, each with a capacity that ends with it.
func split(s Suite, b []byte) *Keys {
	k := &Keys{Suite: s}
	into := [...]*transform.Keymat{&k.SKd, &k.SKai, &k.SKar, &k.SKei, &k.SKer, &k.SKpi, &k.SKpr}
	for i, n := range s.lengths() {
		*into[i], b = b[:n:n], b[n:]
	}
	return k
}

// Protections returns what protects the messages of each end: the initiator's are those that
// the original initiator of the IKE SA sends, whoever begins an exchange. The token is that of
// NewProtection. Errors: those of NewProtection.
func (k *Keys) Protections(token uint32) (initiator, responder *Protection, err error) {
	if initiator, err = NewProtection(k.Suite, k.SKei, k.SKai, token); err != nil {
		return nil, nil, err
	}
	responder, err = NewProtection(k.Suite, k.SKer, k.SKar, token)
	return initiator, responder, err
}

// Format implements fmt.Formatter: for every verb the suite, no key. That of Keymat is not asked for
// what a pointer within another value points to.
func (k Keys) Format(f fmt.State, _ rune) {
	io.WriteString(f, "ikekeys.Keys{"+k.Suite.String()+" [redacted]}")
}

// MarshalText implements encoding.TextMarshaler: for JSON and for slog's handlers.
func (k Keys) MarshalText() ([]byte, error) { return fmt.Append(nil, k), nil }
