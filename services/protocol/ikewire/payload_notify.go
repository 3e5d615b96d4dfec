package ikewire

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// Notify is the Notify payload. Its data is not read by Parse: a notify that means
// nothing to the machine must not refuse the message. CheckData and the methods named
// after what they return read it.
type Notify struct {
	Protocol ProtocolID // RFC 7296 section 3.10: none unless there is an SPI; some peers write IKE
	SPI      []byte     // 3.10: of the SA that the notify is about; at most 255 bytes
	Type     NotifyType // 3.10.1
	Data     []byte     // 3.10: form depends on Type
}

// PayloadType returns PayloadNotify.
func (Notify) PayloadType() PayloadType { return PayloadNotify }

// FindNotify returns the first notify of that type, and whether there is one.
func FindNotify(ps []Payload, t NotifyType) (Notify, bool) {
	for _, p := range ps {
		if n, ok := p.(Notify); ok && n.Type == t {
			return n, true
		}
	}
	return Notify{}, false
}

// ChildSPI returns the protocol and the SPI of a notify about an AH or ESP SA: that of
// REKEY_SA and CHILD_SA_NOT_FOUND. Errors: ErrValue, ErrLength.
func (n Notify) ChildSPI() (ProtocolID, uint32, error) {
	if n.Protocol != ProtocolAH && n.Protocol != ProtocolESP {
		return 0, 0, fmt.Errorf("%s: %w: %s SPI", n.Type, ErrValue, n.Protocol)
	}
	if len(n.SPI) != espSPILen {
		return 0, 0, fmt.Errorf("%s: %w: SPI of %d bytes", n.Type, ErrLength, len(n.SPI))
	}
	return n.Protocol, binary.BigEndian.Uint32(n.SPI), nil
}

// NewChildNotify returns a notify without data about an AH or ESP SA.
func NewChildNotify(t NotifyType, protocol ProtocolID, spi uint32) Notify {
	return Notify{Type: t, Protocol: protocol, SPI: binary.BigEndian.AppendUint32(nil, spi)}
}

// String returns the notify's type, SPI and length of data, for logs.
func (n Notify) String() string {
	s := n.Type.String()
	if len(n.SPI) > 0 {
		s += fmt.Sprintf(" %s SPI %x", n.Protocol, n.SPI)
	}
	if len(n.Data) > 0 {
		s += fmt.Sprintf(" (%d bytes)", len(n.Data))
	}
	return s
}

func parseNotify(s cryptobyte.String) (Notify, error) {
	var n Notify
	var protocol, spiLen uint8
	var kind uint16
	if !s.ReadUint8(&protocol) || !s.ReadUint8(&spiLen) || !s.ReadUint16(&kind) || !s.ReadBytes(&n.SPI, int(spiLen)) {
		return Notify{}, ErrTruncated
	}
	n.Protocol, n.SPI, n.Type, n.Data = ProtocolID(protocol), free(n.SPI), NotifyType(kind), free(s)
	return n, nil
}

func (n Notify) check() error {
	if len(n.SPI) > 0xff {
		return fmt.Errorf("%w: SPI of %d bytes", ErrLength, len(n.SPI))
	}
	return nil
}

func (n Notify) appendBody(b []byte) []byte {
	b = append(b, uint8(n.Protocol), uint8(len(n.SPI)))
	b = binary.BigEndian.AppendUint16(b, uint16(n.Type))
	return append(append(b, n.SPI...), n.Data...)
}
