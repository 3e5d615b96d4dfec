package ikewire

import (
	"encoding/binary"
	"fmt"
)

// eapHeaderLen is the length of code, identifier and length.
const eapHeaderLen = 4

// EAP is the Extensible Authentication payload.
type EAP struct {
	Message []byte // RFC 7296 section 3.16: one EAP message, RFC 3748 section 4, whole
}

// PayloadType returns PayloadEAP.
func (EAP) PayloadType() PayloadType { return PayloadEAP }

// check compares the EAP message's own length only.
func (p EAP) check() error {
	if len(p.Message) < eapHeaderLen || int(binary.BigEndian.Uint16(p.Message[2:])) != len(p.Message) {
		return fmt.Errorf("%w: EAP message of %d bytes", ErrLength, len(p.Message))
	}
	return nil
}

func (p EAP) appendBody(b []byte) []byte { return append(b, p.Message...) }
