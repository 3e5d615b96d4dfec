package ikewire

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// TransformType is IANA's "Transform Type Values", RFC 7296 section 3.3.2.
type TransformType uint8

// Transform types.
const (
	TransformENCR    TransformType = 1  // encryption algorithm
	TransformPRF     TransformType = 2  // pseudorandom function
	TransformINTEG   TransformType = 3  // integrity algorithm
	TransformKE      TransformType = 4  // key exchange method (RFC 9370), once "D-H group"
	TransformSN      TransformType = 5  // sequence numbers (RFC 9827), once "ESN"
	TransformADDKE1  TransformType = 6  // additional key exchanges, RFC 9370
	TransformADDKE2  TransformType = 7  // RFC 9370
	TransformADDKE3  TransformType = 8  // RFC 9370
	TransformADDKE4  TransformType = 9  // RFC 9370
	TransformADDKE5  TransformType = 10 // RFC 9370
	TransformADDKE6  TransformType = 11 // RFC 9370
	TransformADDKE7  TransformType = 12 // RFC 9370
	TransformKWA     TransformType = 13 // key wrap algorithm, RFC 9838
	TransformGCAUTH  TransformType = 14 // group controller authentication method, RFC 9838
	attributeKeyBits               = 14 // Key Length in bits, RFC 7296 section 3.3.5
	attributeTV                    = 0x8000
)

// Transform is one transform substructure. What it names may be unknown: then the
// machine skips it.
type Transform struct {
	Type       TransformType // RFC 7296 section 3.3.2
	ID         uint16        // 3.3.2; meaning depends on Type
	Attributes []Attribute   // 3.3.5
}

// Attribute is one attribute of a transform.
type Attribute struct {
	Type  uint16 // RFC 7296 section 3.3.5; 15 bits
	TLV   bool   // 3.3.5: AF 0, a length before the value; else the value is 2 bytes
	Value []byte // 3.3.5
}

// NewTransform returns a transform with a Key Length attribute, or without attributes
// when keyBits is 0.
func NewTransform(t TransformType, id, keyBits uint16) Transform {
	if keyBits == 0 {
		return Transform{Type: t, ID: id}
	}
	value := binary.BigEndian.AppendUint16(nil, keyBits)
	return Transform{Type: t, ID: id, Attributes: []Attribute{{Type: attributeKeyBits, Value: value}}}
}

// KeyBits returns the Key Length in bits, 0 without that attribute. It is not ok when
// the transform has any other attribute, or that one twice, empty or as TLV: such a
// transform must not be chosen (RFC 7296 section 3.3.6).
func (t Transform) KeyBits() (bits uint16, ok bool) {
	if len(t.Attributes) == 0 {
		return 0, true
	}
	a := t.Attributes[0]
	if len(t.Attributes) > 1 || a.Type != attributeKeyBits || a.TLV || len(a.Value) != 2 {
		return 0, false
	}
	bits = binary.BigEndian.Uint16(a.Value)
	return bits, bits > 0
}

func parseTransform(s cryptobyte.String) (Transform, error) {
	var t Transform
	var kind uint8
	if !s.ReadUint8(&kind) || !s.Skip(1) || !s.ReadUint16(&t.ID) {
		return Transform{}, ErrTruncated
	}
	t.Type = TransformType(kind)
	for !s.Empty() {
		if len(t.Attributes) == MaxTransformAttributes {
			return Transform{}, fmt.Errorf("%w attributes", ErrTooMany)
		}
		a, err := readAttribute(&s)
		if err != nil {
			return Transform{}, fmt.Errorf("attribute %d: %w", len(t.Attributes)+1, err)
		}
		t.Attributes = append(t.Attributes, a)
	}
	return t, nil
}

func readAttribute(s *cryptobyte.String) (Attribute, error) {
	var kind uint16
	if !s.ReadUint16(&kind) {
		return Attribute{}, ErrTruncated
	}
	a, length := Attribute{Type: kind &^ attributeTV, TLV: kind&attributeTV == 0}, uint16(2)
	if a.TLV && !s.ReadUint16(&length) || !s.ReadBytes(&a.Value, int(length)) {
		return Attribute{}, ErrTruncated
	}
	a.Value = free(a.Value)
	return a, nil
}

func (t Transform) check() error {
	if len(t.Attributes) > MaxTransformAttributes {
		return fmt.Errorf("%w attributes", ErrTooMany)
	}
	for i, a := range t.Attributes {
		switch {
		case a.Type >= attributeTV:
			return fmt.Errorf("%w: attribute type %d", ErrValue, a.Type)
		case !a.TLV && len(a.Value) != 2, len(a.Value) > 0xffff:
			return fmt.Errorf("%w: attribute %d has %d bytes", ErrLength, i+1, len(a.Value))
		}
	}
	return nil
}

func (t Transform) append(b []byte, last uint8) []byte {
	start := len(b)
	b = append(b, last, 0, 0, 0, uint8(t.Type), 0)
	b = binary.BigEndian.AppendUint16(b, t.ID)
	for _, a := range t.Attributes {
		if a.TLV {
			b = binary.BigEndian.AppendUint16(b, a.Type)
			b = binary.BigEndian.AppendUint16(b, uint16(len(a.Value)))
		} else {
			b = binary.BigEndian.AppendUint16(b, a.Type|attributeTV)
		}
		b = append(b, a.Value...)
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return b
}
