package ikewire

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// SKF is the Encrypted and Authenticated Fragment payload. It is the last one of its
// message.
type SKF struct {
	Next   PayloadType // RFC 7383 section 2.5: type of the first payload inside; none but in fragment 1
	Number uint16      // 2.5: Fragment Number, from 1
	Total  uint16      // 2.5: Total Fragments
	Data   []byte      // 2.5: IV, ciphertext of a part, padding and pad length, ICV
}

const fragmentLen = 4 // Fragment Number, Total Fragments

// PayloadType returns PayloadSKF.
func (SKF) PayloadType() PayloadType { return PayloadSKF }

func parseSKF(next PayloadType, s cryptobyte.String) (SKF, error) {
	p := SKF{Next: next}
	if !s.ReadUint16(&p.Number) || !s.ReadUint16(&p.Total) {
		return SKF{}, ErrTruncated
	}
	p.Data = free(s)
	return p, nil
}

// check is that of RFC 7383 section 2.6, as far as one fragment shows it.
func (p SKF) check() error {
	switch {
	case p.Total > MaxFragments:
		return fmt.Errorf("%w fragments: %d", ErrTooMany, p.Total)
	case p.Number == 0 || p.Number > p.Total:
		return fmt.Errorf("%w: fragment %d of %d", ErrValue, p.Number, p.Total)
	case p.Number > 1 && p.Next != NoNextPayload:
		return fmt.Errorf("%w: next payload %s in fragment %d", ErrValue, p.Next, p.Number)
	case len(p.Data) == 0:
		return fmt.Errorf("%w: no ciphertext", ErrLength)
	}
	return nil
}

func (p SKF) appendBody(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, p.Number)
	b = binary.BigEndian.AppendUint16(b, p.Total)
	return append(b, p.Data...)
}
