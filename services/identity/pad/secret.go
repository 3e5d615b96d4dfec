package pad

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	redacted  = "[redacted]"
	maxSecret = 1024
	// strongSecret is how many bytes a pre-shared key should have at least: 160 bits, if it is random. Whoever
	// poses as a responder gets a MAC to try secrets against at leisure (RFC 7296 section 5).
	strongSecret = 20
)

// Secret is a pre-shared key. It shows as [redacted] wherever it is printed. The zero Secret is none.
type Secret struct{ bytes []byte }

// NewSecret returns a secret of a copy of b, 1 to 1024 bytes.
func NewSecret(b []byte) (Secret, error) {
	if len(b) == 0 || len(b) > maxSecret {
		return Secret{}, fmt.Errorf("pad: a pre-shared key has 1 to %d bytes, not %d", maxSecret, len(b))
	}
	return Secret{bytes.Clone(b)}, nil
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return len(s.bytes) == 0 }

// CheckStrength returns an error that says what is weak: fewer than 20 bytes, or few different ones. A weak
// secret is a warning for the operator, not refused: the peer's side may know no other.
func (s Secret) CheckStrength() error {
	if len(s.bytes) < strongSecret {
		return fmt.Errorf("the pre-shared key has %d bytes: use %d random ones or more", len(s.bytes), strongSecret)
	}
	seen := map[byte]bool{}
	for _, b := range s.bytes {
		seen[b] = true
	}
	if len(seen) < strongSecret/3 {
		return errors.New("the pre-shared key repeats a few characters: use random ones")
	}
	return nil
}

// Format implements fmt.Formatter for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String returns [redacted].
func (Secret) String() string { return redacted }

// MarshalText implements encoding.TextMarshaler, for JSON and log handlers.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
