package manual

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/services/protocol/spd"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// File is what an operator wrote: the whole SPD, and the SAs with their keys.
type File struct {
	// Insecure allows what RFC 8221 says must or should not be: counter modes under keys from a file, and 3DES.
	Insecure bool
	// DiscardRest drops what no policy matches, as RFC 4301 section 4.4.1 has it; else it passes in clear.
	DiscardRest bool
	// Policies is the SPD in order: the first match wins.
	Policies []Policy
}

// Policy is one entry of the SPD.
type Policy struct {
	Name string
	// Action is what becomes of the traffic; Protection is set with Protect, and only then.
	Action        spd.Action
	Local, Remote []spd.Selector
	Protection    *Protection
}

// Protection is how traffic is protected.
type Protection struct {
	Path datapath.PathSpec
	// Populate is RFC 4301 section 4.4.1.2's. The SAs of the file have the entry's selectors whatever it says.
	Populate spd.Populate
	In, Out  SA
}

// SA is one direction. It prints, logs and encodes without its key.
type SA struct {
	// Spec is all but ID, Pair, Generation, Key, Sequence and Ceiling.
	Spec datapath.SA
	// Keymat is the encryption key, its salt and the integrity key.
	Keymat transform.Keymat
	// Fingerprint is that of the encryption key with its salt or, where nothing is encrypted, of the
	// integrity key: whoever shares it shares the sequence numbers.
	Fingerprint Fingerprint
	// whole is the fingerprint of all of the key material.
	whole Fingerprint
}

// Clear clears the keys. The file can still be compared with another one.
func (f *File) Clear() {
	for _, p := range f.Policies {
		if p.Protection != nil {
			clear(p.Protection.In.Keymat)
			clear(p.Protection.Out.Keymat)
		}
	}
}

// String names the SA without its key.
func (s SA) String() string {
	return fmt.Sprintf("%v %v SPI %#08x %v", s.Spec.Protocol, s.Spec.Mode, s.Spec.SPI, s.Spec.Transform)
}

// GoString is String, so that %#v does not print the key.
func (s SA) GoString() string { return s.String() }

// LogValue is the SA without its key.
func (s SA) LogValue() slog.Value { return slog.StringValue(s.String()) }

var (
	// ErrCounterMode: a counter mode or combined mode under a key from a file.
	ErrCounterMode = errors.New("manual: RFC 8221 section 3: counter modes MUST NOT be used with manual keys")
	// ErrReadable: a file lies open to others.
	ErrReadable = errors.New("manual: a file is open to others")
	// ErrKey: a key is not what its transform needs, or is used twice.
	ErrKey = errors.New("manual: unusable key")
)

// Position is a place in a file.
type Position struct {
	File string
	// Line and Column count from 1.
	Line, Column int
}

// String is file:line:column.
func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Error is one thing that is wrong in a file. It quotes no key.
type Error struct {
	Position Position
	// Message is what, and what to do.
	Message string
	// Err is the reason in terms of errors.Is, if there is one.
	Err error
}

// Error is file:line:column: message.
func (e *Error) Error() string { return e.Position.String() + ": " + e.Message }

// Unwrap is the reason.
func (e *Error) Unwrap() error { return e.Err }

// Errors is all that is wrong, in the order of the file.
type Errors []*Error

// Error is one line for each error.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap is the single errors.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, one := range e {
		all[i] = one
	}
	return all
}
