package transform

import (
	"fmt"
	"strings"
)

// Suite is what protects the packets of one SA.
type Suite struct {
	Encryption Encryption
	Integrity  Integrity // the zero value, NONE, with a combined mode and only there
}

// ParseSuite reads the ESP proposal of one suite in strongSwan's words: "aes128gcm16",
// "aes256ctr-sha384", "null-sha256". Errors: ErrUnknown, ErrForbidden, ErrInsecure,
// ErrNoIntegrity, ErrTwoIntegrities, ErrAHOnly.
func ParseSuite(s string) (Suite, error) { return parseSuite(s, ByName) }

// ParseInsecureSuite is ParseSuite that also takes what SHOULD NOT be used: call it only
// for an operator who has said "insecure".
func ParseInsecureSuite(s string) (Suite, error) { return parseSuite(s, InsecureByName) }

func parseSuite(s string, byName func(string) (Encryption, error)) (Suite, error) {
	encryption, integrity, two := strings.Cut(s, "-")
	var suite Suite
	var err error
	if suite.Encryption, err = byName(encryption); err != nil {
		return Suite{}, err
	}
	if two {
		if suite.Integrity, err = IntegrityByName(integrity); err != nil {
			return Suite{}, err
		}
	}
	if err := suite.Check(); err != nil {
		return Suite{}, err
	}
	return suite, nil
}

// Check returns nil when both rows are of the table and go together. Errors: ErrUnknown,
// ErrNoIntegrity, ErrTwoIntegrities, ErrAHOnly.
func (s Suite) Check() error {
	if err := s.Encryption.check(); err != nil {
		return err
	}
	if err := s.Integrity.check(); err != nil {
		return err
	}
	switch {
	case s.Integrity.AHOnly():
		return fmt.Errorf("%w: %v", ErrAHOnly, s.Integrity)
	case s.Encryption.AEAD() && !s.Integrity.None():
		return ErrTwoIntegrities
	case !s.Encryption.AEAD() && s.Integrity.None():
		return ErrNoIntegrity
	}
	return nil
}

// KeymatLen is the length of the key material of one direction: encryption key, salt,
// integrity key (RFC 7296 section 2.17).
func (s Suite) KeymatLen() int { return s.Encryption.KeymatLen() + s.Integrity.KeyLen }

// ICVLen is the length of the ICV in each packet.
func (s Suite) ICVLen() int { return s.Encryption.ICVLen + s.Integrity.ICVLen }

// String returns what ParseSuite reads.
func (s Suite) String() string {
	if s.Integrity.None() {
		return s.Encryption.Name
	}
	return s.Encryption.Name + "-" + s.Integrity.Name
}

// Suites returns every suite that ParseSuite accepts, in the table's order.
func Suites() []Suite { return suitesOf(Encryptions()) }

// InsecureSuites returns every suite that only ParseInsecureSuite accepts.
func InsecureSuites() []Suite {
	var rows []Encryption
	for _, e := range encryptions {
		if e.Status <= ShouldNot {
			rows = append(rows, e)
		}
	}
	return suitesOf(rows)
}

func suitesOf(rows []Encryption) []Suite {
	var suites []Suite
	for _, e := range rows {
		if e.AEAD() {
			suites = append(suites, Suite{Encryption: e})
			continue
		}
		for _, i := range Integrities() {
			suites = append(suites, Suite{Encryption: e, Integrity: i})
		}
	}
	return suites
}
