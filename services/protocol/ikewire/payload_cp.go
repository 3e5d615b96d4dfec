package ikewire

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// CP is the Configuration payload.
type CP struct {
	Type       ConfigType        // RFC 7296 section 3.15
	Attributes []ConfigAttribute // 3.15.1; unknown ones are to be ignored
}

// ConfigAttribute is one attribute. Its value is not read by Parse; the methods named
// after what they return do that.
type ConfigAttribute struct {
	Type  ConfigAttributeType // RFC 7296 section 3.15.1; 15 bits
	Value []byte              // 3.15.1; empty in a request that leaves it to the other end
}

const reservedBit = 0x8000 // of Attribute Type

// PayloadType returns PayloadCP.
func (CP) PayloadType() PayloadType { return PayloadCP }

// Find returns the attributes of that type, in their order.
func (p CP) Find(t ConfigAttributeType) []ConfigAttribute {
	var found []ConfigAttribute
	for _, a := range p.Attributes {
		if a.Type == t {
			found = append(found, a)
		}
	}
	return found
}

func parseCP(s cryptobyte.String) (CP, error) {
	var p CP
	var kind uint8
	if !s.ReadUint8(&kind) || !s.Skip(3) {
		return CP{}, ErrTruncated
	}
	p.Type = ConfigType(kind)
	for !s.Empty() {
		if len(p.Attributes) == MaxConfigAttributes {
			return CP{}, fmt.Errorf("%w attributes", ErrTooMany)
		}
		var attribute uint16
		var value cryptobyte.String
		if !s.ReadUint16(&attribute) || !s.ReadUint16LengthPrefixed(&value) {
			return CP{}, fmt.Errorf("attribute %d: %w", len(p.Attributes)+1, ErrTruncated)
		}
		p.Attributes = append(p.Attributes, ConfigAttribute{ConfigAttributeType(attribute &^ reservedBit), free(value)})
	}
	return p, nil
}

func (p CP) check() error {
	if len(p.Attributes) > MaxConfigAttributes {
		return fmt.Errorf("%w attributes", ErrTooMany)
	}
	for _, a := range p.Attributes {
		if a.Type >= reservedBit {
			return fmt.Errorf("%w: attribute type %d", ErrValue, uint16(a.Type))
		}
		if len(a.Value) > 0xffff {
			return fmt.Errorf("%w: %s of %d bytes", ErrLength, a.Type, len(a.Value))
		}
	}
	return nil
}

func (p CP) appendBody(b []byte) []byte {
	b = append(b, uint8(p.Type), 0, 0, 0)
	for _, a := range p.Attributes {
		b = binary.BigEndian.AppendUint16(b, uint16(a.Type))
		b = binary.BigEndian.AppendUint16(b, uint16(len(a.Value)))
		b = append(b, a.Value...)
	}
	return b
}
