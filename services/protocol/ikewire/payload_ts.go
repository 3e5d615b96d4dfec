package ikewire

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/crypto/cryptobyte"
)

// TSType is IANA's "IKEv2 Traffic Selector Types", RFC 7296 section 3.13.1.
type TSType uint8

// Traffic selector types.
const (
	TSIPv4AddrRange TSType = 7  // RFC 7296
	TSIPv6AddrRange TSType = 8  // RFC 7296
	TSFCAddrRange   TSType = 9  // RFC 4595
	TSSecLabel      TSType = 10 // RFC 9478
)

// String returns IANA's name.
func (t TSType) String() string {
	switch t {
	case TSIPv4AddrRange:
		return "TS_IPV4_ADDR_RANGE"
	case TSIPv6AddrRange:
		return "TS_IPV6_ADDR_RANGE"
	case TSFCAddrRange:
		return "TS_FC_ADDR_RANGE"
	case TSSecLabel:
		return "TS_SECLABEL"
	}
	return fmt.Sprintf("traffic selector type %d", uint8(t))
}

// TrafficSelector is one selector. For types other than the two address ranges only
// Type, Protocol and Data are used: the second octet and all after the length.
type TrafficSelector struct {
	Type      TSType     // RFC 7296 section 3.13.1
	Protocol  uint8      // 3.13.1: IP protocol, 0 for any
	StartPort uint16     // 3.13.1: 0 to 65535 is any, 65535 to 0 is OPAQUE; ICMP: type and code
	EndPort   uint16     // 3.13.1
	Start     netip.Addr // 3.13.1
	End       netip.Addr // 3.13.1: not below Start
	Data      []byte     // of a type that is not an address range
}

// TSi is the initiator's Traffic Selector payload.
type TSi struct {
	Selectors []TrafficSelector // RFC 7296 section 3.13
}

// TSr is the responder's Traffic Selector payload.
type TSr struct {
	Selectors []TrafficSelector // RFC 7296 section 3.13
}

const (
	selectorLen = 4 // type, protocol, length
	anyPort     = 0xffff
)

// PayloadType returns PayloadTSi.
func (TSi) PayloadType() PayloadType { return PayloadTSi }

// PayloadType returns PayloadTSr.
func (TSr) PayloadType() PayloadType { return PayloadTSr }

// OpaquePorts reports whether the selector is for packets whose ports cannot be seen.
func (t TrafficSelector) OpaquePorts() bool { return t.StartPort == anyPort && t.EndPort == 0 }

// String returns the selector as "10.0.0.0-10.0.0.255 protocol 6 ports 80-80".
func (t TrafficSelector) String() string {
	if t.addrLen() == 0 {
		return fmt.Sprintf("%s %x", t.Type, t.Data)
	}
	s := fmt.Sprintf("%s-%s", t.Start, t.End)
	if t.Protocol != 0 {
		s += fmt.Sprintf(" protocol %d", t.Protocol)
	}
	switch {
	case t.OpaquePorts():
		s += " ports OPAQUE"
	case t.StartPort != 0 || t.EndPort != anyPort:
		s += fmt.Sprintf(" ports %d-%d", t.StartPort, t.EndPort)
	}
	return s
}

func (t TrafficSelector) addrLen() int {
	switch t.Type {
	case TSIPv4AddrRange:
		return 4
	case TSIPv6AddrRange:
		return 16
	}
	return 0
}

func parseSelectors(s cryptobyte.String) ([]TrafficSelector, error) {
	var count uint8
	if !s.ReadUint8(&count) || !s.Skip(3) {
		return nil, ErrTruncated
	}
	if int(count)*selectorLen > len(s) {
		return nil, fmt.Errorf("%d selectors in %d bytes: %w", count, len(s), ErrTruncated)
	}
	selectors := make([]TrafficSelector, count)
	for i := range selectors {
		var err error
		if selectors[i], err = readSelector(&s); err != nil {
			return nil, fmt.Errorf("selector %d: %w", i+1, err)
		}
	}
	if !s.Empty() {
		return nil, fmt.Errorf("%d %w of the selectors", len(s), ErrTrailing)
	}
	return selectors, nil
}

func readSelector(s *cryptobyte.String) (TrafficSelector, error) {
	var t TrafficSelector
	var kind uint8
	var length uint16
	var body cryptobyte.String
	if !s.ReadUint8(&kind) || !s.ReadUint8(&t.Protocol) || !s.ReadUint16(&length) {
		return t, ErrTruncated
	}
	if length < selectorLen {
		return t, fmt.Errorf("%w: %d with the header", ErrLength, length)
	}
	if !s.ReadBytes((*[]byte)(&body), int(length)-selectorLen) {
		return t, ErrTruncated
	}
	t.Type = TSType(kind)
	n := t.addrLen()
	if n == 0 {
		t.Data = free(body)
		return t, nil
	}
	var start, end []byte
	if !body.ReadUint16(&t.StartPort) || !body.ReadUint16(&t.EndPort) ||
		!body.ReadBytes(&start, n) || !body.ReadBytes(&end, n) || !body.Empty() {
		return t, fmt.Errorf("%w: %s of %d bytes", ErrLength, t.Type, length)
	}
	t.Start, _ = netip.AddrFromSlice(start)
	t.End, _ = netip.AddrFromSlice(end)
	return t, nil
}

func (p TSi) check() error { return checkSelectors(p.Selectors) }
func (p TSr) check() error { return checkSelectors(p.Selectors) }

func checkSelectors(ts []TrafficSelector) error {
	if len(ts) == 0 {
		return fmt.Errorf("%w: no selector", ErrLength)
	}
	if len(ts) > MaxSelectors {
		return fmt.Errorf("%w selectors: %d", ErrTooMany, len(ts))
	}
	for i, t := range ts {
		if err := t.check(); err != nil {
			return fmt.Errorf("selector %d: %w", i+1, err)
		}
	}
	return nil
}

func (t TrafficSelector) check() error {
	n := t.addrLen()
	if n == 0 {
		if len(t.Data) > 0xffff-selectorLen {
			return fmt.Errorf("%w: %d bytes", ErrLength, len(t.Data))
		}
		return nil
	}
	for _, a := range []netip.Addr{t.Start, t.End} {
		if a.BitLen() != n*8 || a.Zone() != "" {
			return fmt.Errorf("%w: address %s in %s", ErrValue, a, t.Type)
		}
	}
	if t.End.Less(t.Start) || t.EndPort < t.StartPort && !t.OpaquePorts() {
		return fmt.Errorf("%w: empty range %s", ErrValue, t)
	}
	return nil
}

func (p TSi) appendBody(b []byte) []byte { return appendSelectors(b, p.Selectors) }
func (p TSr) appendBody(b []byte) []byte { return appendSelectors(b, p.Selectors) }

func appendSelectors(b []byte, ts []TrafficSelector) []byte {
	b = append(b, uint8(len(ts)), 0, 0, 0)
	for _, t := range ts {
		start := len(b)
		b = append(b, uint8(t.Type), t.Protocol, 0, 0)
		if t.addrLen() == 0 {
			b = append(b, t.Data...)
		} else {
			b = binary.BigEndian.AppendUint16(b, t.StartPort)
			b = binary.BigEndian.AppendUint16(b, t.EndPort)
			b = append(b, t.Start.AsSlice()...)
			b = append(b, t.End.AsSlice()...)
		}
		binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	}
	return b
}
