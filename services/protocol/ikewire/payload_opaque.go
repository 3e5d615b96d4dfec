package ikewire

import "fmt"

// Opaque is a payload of a type that this package does not know. A parsed one is not
// critical: it may be skipped.
type Opaque struct {
	Type     PayloadType // RFC 7296 section 3.2: Next Payload of what is before it
	Critical bool        // 3.2; on send only
	Data     []byte
}

// PayloadType returns Type.
func (p Opaque) PayloadType() PayloadType { return p.Type }

func (p Opaque) check() error {
	if p.Type == NoNextPayload || (p.Type >= PayloadSA && p.Type <= PayloadEAP) || p.Type == PayloadSKF {
		return fmt.Errorf("%w: %s as an opaque payload", ErrValue, p.Type)
	}
	return nil
}

func (p Opaque) appendBody(b []byte) []byte { return append(b, p.Data...) }
