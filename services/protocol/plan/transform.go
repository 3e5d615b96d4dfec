package plan

import (
	"fmt"
	"strings"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// Transform is the cryptography of an SA, by IANA's numbers.
type Transform struct {
	ID        uint16 // Transform Type 1
	KeyBits   uint16 // Key Length attribute; 0 for a cipher that has none
	Integrity uint16 // Transform Type 3; 0 with a combined mode
	ESN       bool
}

// Words that end a proposal, as strongSwan has them. Without one there are extended sequence numbers.
const (
	withESN    = "-esn"
	withoutESN = "-noesn"
)

// ParseTransform reads the proposal of a policy: a suite of package transform, then "-esn" or "-noesn".
// With insecure it may be one that SHOULD NOT be used. The errors are transform's.
func ParseTransform(proposal string, insecure bool) (Transform, error) {
	name, without := strings.CutSuffix(proposal, withoutESN)
	if !without {
		name = strings.TrimSuffix(proposal, withESN)
	}
	parse := transform.ParseSuite
	if insecure {
		parse = transform.ParseInsecureSuite
	}
	suite, err := parse(name)
	if err != nil {
		return Transform{}, err
	}
	return TransformOf(suite, !without), nil
}

// TransformOf names a suite by its numbers.
func TransformOf(s transform.Suite, esn bool) Transform {
	return Transform{ID: s.Encryption.ID, KeyBits: s.Encryption.KeyBits, Integrity: s.Integrity.ID, ESN: esn}
}

// Suite finds the algorithms. What SHOULD NOT be used is found too: whoever made the Transform has asked
// for it. The errors are transform's.
func (t Transform) Suite() (transform.Suite, error) {
	var s transform.Suite
	var err error
	if s.Encryption, err = transform.InsecureByID(t.ID, t.KeyBits); err != nil {
		return transform.Suite{}, err
	}
	if s.Integrity, err = transform.IntegrityByID(t.Integrity); err != nil {
		return transform.Suite{}, err
	}
	if err := s.Check(); err != nil {
		return transform.Suite{}, err
	}
	return s, nil
}

// Insecure reports whether the suite has an algorithm that RFC 8221 says SHOULD NOT be used.
func (t Transform) Insecure() bool {
	s, err := t.Suite()
	return err == nil && s.Encryption.Status <= transform.ShouldNot
}

// String is what ParseTransform reads, with its last word; the numbers of what is not known.
func (t Transform) String() string {
	end := withoutESN
	if t.ESN {
		end = withESN
	}
	s, err := t.Suite()
	if err != nil {
		return fmt.Sprintf("encr%d-%d-integ%d%s", t.ID, t.KeyBits, t.Integrity, end)
	}
	return s.String() + end
}
