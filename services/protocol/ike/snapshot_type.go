package ike

import (
	"fmt"
	"io"
)

// Snapshot is all that a machine is. It holds every key: seal Bytes before they go anywhere.
type Snapshot struct{ bytes []byte }

// Bytes returns the encoding that ParseSnapshot reads. It is secret.
func (s Snapshot) Bytes() []byte { return s.bytes }

// ParseSnapshot wraps what Bytes returned; Restore checks it.
func ParseSnapshot(b []byte) Snapshot { return Snapshot{b} }

// Format implements fmt.Formatter for every verb.
func (Snapshot) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText implements encoding.TextMarshaler: for JSON and for slog's handlers.
func (Snapshot) MarshalText() ([]byte, error) { return []byte(redacted), nil }
