package ikewire

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// Delete is the Delete payload.
type Delete struct {
	Protocol ProtocolID // RFC 7296 section 3.11
	SPIs     [][]byte   // 3.11: of the sender's inbound SAs; for IKE none, for AH and ESP 4 bytes each
}

// PayloadType returns PayloadDelete.
func (Delete) PayloadType() PayloadType { return PayloadDelete }

// NewDelete returns the payload that deletes AH or ESP SAs.
func NewDelete(protocol ProtocolID, spis []uint32) Delete {
	p := Delete{Protocol: protocol}
	for _, spi := range spis {
		p.SPIs = append(p.SPIs, binary.BigEndian.AppendUint32(nil, spi))
	}
	return p
}

// ChildSPIs returns the SPIs of a Delete for AH or ESP, nil for other protocols.
func (p Delete) ChildSPIs() []uint32 {
	if p.Protocol != ProtocolAH && p.Protocol != ProtocolESP {
		return nil
	}
	var spis []uint32
	for _, spi := range p.SPIs {
		if len(spi) == espSPILen {
			spis = append(spis, binary.BigEndian.Uint32(spi))
		}
	}
	return spis
}

func parseDelete(s cryptobyte.String) (Delete, error) {
	var protocol, size uint8
	var count uint16
	if !s.ReadUint8(&protocol) || !s.ReadUint8(&size) || !s.ReadUint16(&count) {
		return Delete{}, ErrTruncated
	}
	p := Delete{Protocol: ProtocolID(protocol)}
	if count > MaxDeletes {
		return Delete{}, fmt.Errorf("%w SPIs: %d", ErrTooMany, count)
	}
	if count > 0 && size == 0 || int(count)*int(size) != len(s) {
		return Delete{}, fmt.Errorf("%w: %d SPIs of %d bytes in %d bytes", ErrLength, count, size, len(s))
	}
	if count == 0 && !p.sizeFits(int(size)) {
		return Delete{}, fmt.Errorf("%w: %s SPI of %d bytes", ErrLength, p.Protocol, size)
	}
	for range count {
		var spi []byte
		s.ReadBytes(&spi, int(size))
		p.SPIs = append(p.SPIs, free(spi))
	}
	return p, nil
}

// sizeFits says whether SPIs may have that size for the protocol.
func (p Delete) sizeFits(n int) bool {
	switch p.Protocol {
	case ProtocolIKE:
		return n == 0
	case ProtocolAH, ProtocolESP:
		return n == espSPILen
	}
	return n <= 0xff
}

func (p Delete) check() error {
	if p.Protocol == ProtocolIKE && len(p.SPIs) > 0 {
		return fmt.Errorf("%w: SPI in a Delete of the IKE SA", ErrLength)
	}
	if len(p.SPIs) > MaxDeletes {
		return fmt.Errorf("%w SPIs: %d", ErrTooMany, len(p.SPIs))
	}
	for _, spi := range p.SPIs {
		if len(spi) == 0 || len(spi) != len(p.SPIs[0]) || !p.sizeFits(len(spi)) {
			return fmt.Errorf("%w: %s SPI of %d bytes", ErrLength, p.Protocol, len(spi))
		}
	}
	return nil
}

func (p Delete) appendBody(b []byte) []byte {
	size := 0
	switch {
	case len(p.SPIs) > 0:
		size = len(p.SPIs[0])
	case p.Protocol == ProtocolAH || p.Protocol == ProtocolESP:
		size = espSPILen
	}
	b = append(b, uint8(p.Protocol), uint8(size))
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.SPIs)))
	for _, spi := range p.SPIs {
		b = append(b, spi...)
	}
	return b
}
