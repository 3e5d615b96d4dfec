// Package ikekeys is the keys of an IKE SA: how they come from key exchanges, what they prove,
// what they protect, and what they give to Child SAs.
//
//	IKE_SA_INIT       Derive          SKEYSEED ─▶ SK_d SK_ai SK_ar SK_ei SK_er SK_pi SK_pr
//	IKE_INTERMEDIATE  WithAdditional  SK_d, SK(n) ─▶ all keys anew                (RFC 9370)
//	                  IntAuth         SK_pi, SK_pr ─▶ what AUTH covers of it      (RFC 9242)
//	IKE_AUTH          WithPPK         PPK ─▶ SK_d, SK_pi, SK_pr anew              (RFC 8784)
//	                  SignedOctets, SharedKeyAUTH
//	CREATE_CHILD_SA   ChildKeymat     SK_d ─▶ KEYMAT, a part for each direction
//	                  Rekey           SK_d ─▶ the keys of the new IKE SA
//	every message     Protection      SK_e, SK_a: seal and open SK and SKF
//
// Nothing here remembers which of these has happened: the caller keeps the Keys that are
// current. Keys and protections print, log and encode as "[redacted]".
package ikekeys

import (
	"errors"
	"fmt"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

var (
	// ErrSuite: the transforms cannot protect an IKE SA.
	ErrSuite = errors.New("ikekeys: not a suite for IKE")
	// ErrNonce: a nonce of less than 16 or more than 256 bytes, RFC 7296 section 2.10.
	ErrNonce = errors.New("ikekeys: wrong length of a nonce")
	// ErrSecret: a shared secret or PPK is missing or empty.
	ErrSecret = errors.New("ikekeys: no shared secret")
	// ErrKeys: the bytes are no marshalled keys of the suite.
	ErrKeys = errors.New("ikekeys: wrong length of marshalled keys")
)

// Suite is what an IKE SA's proposal chose, beside the key exchange methods.
type Suite struct {
	Encryption transform.Encryption
	Integrity  transform.Integrity // the zero value with a combined mode, and only there
	PRF        transform.PRF
}

// Check returns nil when all rows are of transform's table, go together and may protect an IKE
// SA (RFC 8247 section 2). Errors: ErrSuite, and with it those of transform.Suite.Check.
func (s Suite) Check() error {
	if err := s.protects().Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrSuite, err)
	}
	if err := s.PRF.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrSuite, err)
	}
	if s.Encryption.IKE == transform.MustNot || !s.Integrity.None() && s.Integrity.IKE == transform.MustNot {
		return fmt.Errorf("%w: RFC 8247 has no place for %v", ErrSuite, s.protects())
	}
	return nil
}

func (s Suite) protects() transform.Suite {
	return transform.Suite{Encryption: s.Encryption, Integrity: s.Integrity}
}

// String returns the suite as in a strongSwan proposal.
func (s Suite) String() string { return s.protects().String() + "-" + s.PRF.Name }

// Sizes are the lengths in an SK payload. Only block ciphers need padding (RFC 5282 section 3,
// RFC 5930).
func (s Suite) Sizes() ikewire.Sizes {
	z := ikewire.Sizes{IV: s.Encryption.IVLen, Block: 1, ICV: s.protects().ICVLen()}
	if s.Encryption.UnpredictableIV() {
		z.Block = s.Encryption.Block
	}
	return z
}

// lengths are those of SK_d, SK_ai, SK_ar, SK_ei, SK_er, SK_pi, SK_pr, in this order.
func (s Suite) lengths() [7]int {
	p, a, e := s.PRF.KeyLen, s.Integrity.KeyLen, s.Encryption.KeymatLen()
	return [...]int{p, a, a, e, e, p, p}
}

func (s Suite) keysLen() int {
	n := 0
	for _, l := range s.lengths() {
		n += l
	}
	return n
}
