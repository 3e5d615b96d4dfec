package ikewire

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// KE is the Key Exchange payload.
type KE struct {
	Method uint16 // RFC 7296 section 3.4, RFC 9370: ID of a transform of type KE or ADDKE
	Data   []byte // 3.4: public value, encapsulation key or ciphertext; not empty
}

// PayloadType returns PayloadKE.
func (KE) PayloadType() PayloadType { return PayloadKE }

func parseKE(s cryptobyte.String) (KE, error) {
	var p KE
	if !s.ReadUint16(&p.Method) || !s.Skip(2) {
		return KE{}, ErrTruncated
	}
	p.Data = free(s)
	return p, nil
}

func (p KE) check() error {
	if len(p.Data) == 0 {
		return fmt.Errorf("%w: no key exchange data", ErrLength)
	}
	return nil
}

func (p KE) appendBody(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, p.Method)
	return append(append(b, 0, 0), p.Data...)
}
