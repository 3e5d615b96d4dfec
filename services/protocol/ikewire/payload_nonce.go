package ikewire

import "fmt"

// Nonce is the Nonce payload.
type Nonce struct {
	Data []byte // RFC 7296 section 3.9: MinNonce to MaxNonce bytes
}

// PayloadType returns PayloadNonce.
func (Nonce) PayloadType() PayloadType { return PayloadNonce }

func (p Nonce) check() error {
	if len(p.Data) < MinNonce || len(p.Data) > MaxNonce {
		return fmt.Errorf("%w: %d bytes, want %d to %d", ErrLength, len(p.Data), MinNonce, MaxNonce)
	}
	return nil
}

func (p Nonce) appendBody(b []byte) []byte { return append(b, p.Data...) }
