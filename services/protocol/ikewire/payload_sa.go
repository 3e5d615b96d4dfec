package ikewire

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// SA is the Security Association payload: what is offered, best first, or the one
// proposal that was chosen, with one transform of each type.
type SA struct {
	Proposals []Proposal // RFC 7296 section 3.3
}

// Proposal is one proposal substructure. Numbers are not checked against their order:
// an answer repeats the number of the proposal that it chose.
type Proposal struct {
	Number     uint8       // RFC 7296 section 3.3.1
	Protocol   ProtocolID  // 3.3.1
	SPI        []byte      // 3.3.1: of the sender's inbound SA; IKE 0 or 8 bytes, AH and ESP 4
	Transforms []Transform // 3.3.2
}

// Last Substruc of a proposal and of a transform when more follow, RFC 7296 sections
// 3.3.1 and 3.3.2.
const (
	lastSubstruc  = 0
	moreProposals = 2
	moreTransform = 3
)

// PayloadType returns PayloadSA.
func (SA) PayloadType() PayloadType { return PayloadSA }

func parseSA(s cryptobyte.String) (SA, error) {
	var sa SA
	for !s.Empty() {
		if len(sa.Proposals) == MaxProposals {
			return SA{}, fmt.Errorf("%w proposals", ErrTooMany)
		}
		last, body, err := readSubstruc(&s, moreProposals)
		if err != nil {
			return SA{}, fmt.Errorf("proposal %d: %w", len(sa.Proposals)+1, err)
		}
		if last != s.Empty() {
			return SA{}, fmt.Errorf("%w: Last Substruc of proposal %d", ErrValue, len(sa.Proposals)+1)
		}
		p, err := parseProposal(body)
		if err != nil {
			return SA{}, fmt.Errorf("proposal %d: %w", len(sa.Proposals)+1, err)
		}
		sa.Proposals = append(sa.Proposals, p)
	}
	return sa, nil
}

// readSubstruc reads what proposals and transforms begin with: Last Substruc, a
// reserved octet, and a length that includes these four octets.
func readSubstruc(s *cryptobyte.String, more uint8) (last bool, body cryptobyte.String, err error) {
	var mark uint8
	var length uint16
	if !s.ReadUint8(&mark) || !s.Skip(1) || !s.ReadUint16(&length) {
		return false, nil, ErrTruncated
	}
	if mark != lastSubstruc && mark != more {
		return false, nil, fmt.Errorf("%w: Last Substruc %d", ErrValue, mark)
	}
	if length < genericLen {
		return false, nil, fmt.Errorf("%w: %d with the header", ErrLength, length)
	}
	if !s.ReadBytes((*[]byte)(&body), int(length)-genericLen) {
		return false, nil, ErrTruncated
	}
	return mark == lastSubstruc, body, nil
}

func parseProposal(s cryptobyte.String) (Proposal, error) {
	var p Proposal
	var protocol, spiLen, transforms uint8
	if !s.ReadUint8(&p.Number) || !s.ReadUint8(&protocol) || !s.ReadUint8(&spiLen) ||
		!s.ReadUint8(&transforms) || !s.ReadBytes(&p.SPI, int(spiLen)) {
		return Proposal{}, ErrTruncated
	}
	p.Protocol, p.SPI = ProtocolID(protocol), free(p.SPI)
	for i := range int(transforms) {
		last, body, err := readSubstruc(&s, moreTransform)
		if err != nil {
			return Proposal{}, fmt.Errorf("transform %d: %w", i+1, err)
		}
		if last != (i == int(transforms)-1) {
			return Proposal{}, fmt.Errorf("%w: Last Substruc of transform %d", ErrValue, i+1)
		}
		t, err := parseTransform(body)
		if err != nil {
			return Proposal{}, fmt.Errorf("transform %d: %w", i+1, err)
		}
		p.Transforms = append(p.Transforms, t)
	}
	if !s.Empty() {
		return Proposal{}, fmt.Errorf("%d %w of the transforms", len(s), ErrTrailing)
	}
	return p, nil
}

func (sa SA) check() error {
	if len(sa.Proposals) == 0 {
		return fmt.Errorf("%w: no proposal", ErrLength)
	}
	if len(sa.Proposals) > MaxProposals {
		return fmt.Errorf("%w proposals", ErrTooMany)
	}
	for i, p := range sa.Proposals {
		if err := p.check(); err != nil {
			return fmt.Errorf("proposal %d: %w", i+1, err)
		}
	}
	return nil
}

// check refuses a proposal without transforms for the protocols that need some: chosen,
// it would be an SA without protection.
func (p Proposal) check() error {
	ok := true
	switch p.Protocol {
	case ProtocolIKE:
		ok = len(p.SPI) == 0 || len(p.SPI) == ikeSPILen
	case ProtocolAH, ProtocolESP:
		ok = len(p.SPI) == espSPILen
	default:
		ok = len(p.SPI) <= 0xff
	}
	switch {
	case !ok:
		return fmt.Errorf("%w: %s SPI of %d bytes", ErrLength, p.Protocol, len(p.SPI))
	case len(p.Transforms) > MaxTransforms:
		return fmt.Errorf("%w transforms", ErrTooMany)
	case len(p.Transforms) == 0 && p.Protocol >= ProtocolIKE && p.Protocol <= ProtocolESP:
		return fmt.Errorf("%w: no transform", ErrLength)
	}
	for i, t := range p.Transforms {
		if err := t.check(); err != nil {
			return fmt.Errorf("transform %d: %w", i+1, err)
		}
	}
	return nil
}

func (sa SA) appendBody(b []byte) []byte {
	for i, p := range sa.Proposals {
		start := len(b)
		b = append(b, substruc(i, len(sa.Proposals), moreProposals), 0, 0, 0)
		b = append(b, p.Number, uint8(p.Protocol), uint8(len(p.SPI)), uint8(len(p.Transforms)))
		b = append(b, p.SPI...)
		for j, t := range p.Transforms {
			b = t.append(b, substruc(j, len(p.Transforms), moreTransform))
		}
		// A length that does not fit makes the payload too long, which its caller reports.
		binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	}
	return b
}

func substruc(i, n int, more uint8) uint8 {
	if i == n-1 {
		return lastSubstruc
	}
	return more
}
