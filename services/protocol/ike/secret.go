package ike

import (
	"fmt"
	"io"
)

const redacted = "[redacted]"

// Secret is key material. It prints, logs and encodes as "[redacted]" whatever the verb or handler; a snapshot keeps
// secrets apart.
type Secret []byte

// Format implements fmt.Formatter for every verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText implements encoding.TextMarshaler: for JSON and for slog's handlers.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText makes what MarshalText wrote readable again: the secret is gone.
func (s *Secret) UnmarshalText([]byte) error { *s = nil; return nil }
