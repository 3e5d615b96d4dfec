package transform

import (
	"fmt"
	"io"
)

const redacted = "[redacted]"

// Keymat is the key material of one SA in one direction. It prints, logs and
// encodes as "[redacted]" whatever the verb or handler.
type Keymat []byte

// Format implements fmt.Formatter for every verb.
func (Keymat) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText implements encoding.TextMarshaler: for JSON and for slog's handlers.
func (Keymat) MarshalText() ([]byte, error) { return []byte(redacted), nil }
