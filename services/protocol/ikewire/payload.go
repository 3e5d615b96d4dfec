package ikewire

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// Payload is one of this package's payload types, by value: SA, KE, IDi, IDr, CERT,
// CERTREQ, AUTH, Nonce, Notify, Delete, VendorID, TSi, TSr, SK, SKF, CP, EAP, Opaque.
type Payload interface {
	// PayloadType is the number in front of the payload.
	PayloadType() PayloadType
	// check tells what Parse would refuse.
	check() error
	// appendBody writes all but the generic header of a payload that check accepts.
	appendBody(b []byte) []byte
}

const (
	genericLen  = 4    // RFC 7296 section 3.2
	criticalBit = 0x80 // in its second octet
)

// Find returns the first payload of type P in ps, and whether there is one.
func Find[P Payload](ps []Payload) (P, bool) {
	for _, p := range ps {
		if found, ok := p.(P); ok {
			return found, true
		}
	}
	var none P
	return none, false
}

// All returns the payloads of type P in ps, in their order.
func All[P Payload](ps []Payload) []P {
	var all []P
	for _, p := range ps {
		if found, ok := p.(P); ok {
			all = append(all, found)
		}
	}
	return all
}

// ParsePayloads reads the payloads inside an SK payload, or a message reassembled from
// fragments, after decryption and without padding. first is the encrypted payload's
// Next. Encrypted payloads do not nest. Errors: *PayloadError, *CriticalPayloadError.
func ParsePayloads(first PayloadType, b []byte) ([]Payload, error) {
	return parseChain(first, b, true)
}

func parseChain(next PayloadType, b []byte, inside bool) ([]Payload, error) {
	var ps []Payload
	var seen [256]bool
	s := cryptobyte.String(b)
	for next != NoNextPayload {
		t := next
		switch {
		case len(ps) == MaxPayloads:
			return nil, &PayloadError{t, fmt.Errorf("payload %d: %w", len(ps)+1, ErrTooMany)}
		case t.once() && seen[t]:
			return nil, &PayloadError{t, ErrDuplicate}
		case t.encrypted() && inside:
			return nil, &PayloadError{t, ErrNested}
		}
		seen[t] = true
		p, after, err := parsePayload(t, &s)
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
		if next = after; t.encrypted() {
			next = NoNextPayload // what follows is the type of the first payload inside
		}
	}
	if !s.Empty() {
		return nil, &PayloadError{NoNextPayload, fmt.Errorf("%d %w", len(s), ErrTrailing)}
	}
	return ps, nil
}

// parsePayload reads one payload with its generic header, RFC 7296 section 3.2. The
// critical bit of a payload that we know is ignored, as section 2.5 wants.
func parsePayload(t PayloadType, s *cryptobyte.String) (Payload, PayloadType, error) {
	var next, flags uint8
	var length uint16
	var body []byte
	if !s.ReadUint8(&next) || !s.ReadUint8(&flags) || !s.ReadUint16(&length) {
		return nil, 0, &PayloadError{t, fmt.Errorf("generic header: %w", ErrTruncated)}
	}
	if length < genericLen {
		return nil, 0, &PayloadError{t, fmt.Errorf("%w: %d with the header", ErrLength, length)}
	}
	if left := len(*s); !s.ReadBytes(&body, int(length)-genericLen) {
		return nil, 0, &PayloadError{t, fmt.Errorf("%d of %d bytes: %w", left, length-genericLen, ErrTruncated)}
	}
	p, err := parseBody(t, PayloadType(next), body)
	if err != nil {
		return nil, 0, &PayloadError{t, err}
	}
	if _, unknown := p.(Opaque); unknown && flags&criticalBit != 0 {
		return nil, 0, &CriticalPayloadError{t}
	}
	return p, PayloadType(next), nil
}

func parseBody(t, next PayloadType, body []byte) (p Payload, err error) {
	s := cryptobyte.String(free(body))
	switch t {
	case PayloadSA:
		p, err = parseSA(s)
	case PayloadKE:
		p, err = parseKE(s)
	case PayloadIDi:
		var id Identification
		id, err = parseIdentification(s)
		p = IDi{id}
	case PayloadIDr:
		var id Identification
		id, err = parseIdentification(s)
		p = IDr{id}
	case PayloadCERT:
		p, err = parseCERT(s)
	case PayloadCERTREQ:
		p, err = parseCERTREQ(s)
	case PayloadAUTH:
		p, err = parseAUTH(s)
	case PayloadNonce:
		p = Nonce{Data: s}
	case PayloadNotify:
		p, err = parseNotify(s)
	case PayloadDelete:
		p, err = parseDelete(s)
	case PayloadVendorID:
		p = VendorID{Data: s}
	case PayloadTSi:
		var ts []TrafficSelector
		ts, err = parseSelectors(s)
		p = TSi{ts}
	case PayloadTSr:
		var ts []TrafficSelector
		ts, err = parseSelectors(s)
		p = TSr{ts}
	case PayloadSK:
		p = SK{Next: next, Data: s}
	case PayloadSKF:
		p, err = parseSKF(next, s)
	case PayloadCP:
		p, err = parseCP(s)
	case PayloadEAP:
		p = EAP{Message: s}
	default:
		return Opaque{Type: t, Data: s}, nil
	}
	if err == nil {
		err = p.check()
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// free returns bytes that a parsed value keeps: nil when there are none, so that parsing
// what was appended gives an equal value; without room to append into the datagram.
func free(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b[:len(b):len(b)]
}

// AppendPayloads writes a chain of payloads, for the inside of an SK payload, whose Next
// is FirstType of ps. Errors: *PayloadError for what Parse would refuse, ErrTooLong.
func AppendPayloads(b []byte, ps []Payload) ([]byte, error) {
	return appendChain(b, ps, true)
}

// FirstType is the type of the first payload, or NoNextPayload when there is none.
func FirstType(ps []Payload) PayloadType {
	if len(ps) == 0 {
		return NoNextPayload
	}
	return ps[0].PayloadType()
}

func appendChain(b []byte, ps []Payload, inside bool) ([]byte, error) {
	var seen [256]bool
	start := len(b)
	for i, p := range ps {
		t, next := p.PayloadType(), FirstType(ps[i+1:])
		switch {
		case i == MaxPayloads:
			return nil, &PayloadError{t, fmt.Errorf("payload %d: %w", i+1, ErrTooMany)}
		case t.once() && seen[t]:
			return nil, &PayloadError{t, ErrDuplicate}
		case t.encrypted() && (inside || next != NoNextPayload):
			return nil, &PayloadError{t, ErrNested}
		}
		seen[t] = true
		switch e := p.(type) {
		case SK:
			next = e.Next
		case SKF:
			next = e.Next
		}
		var err error
		if b, err = appendPayload(b, next, p); err != nil {
			return nil, &PayloadError{t, err}
		}
		if len(b)-start > MaxMessage-HeaderLen {
			return nil, &PayloadError{t, ErrTooLong}
		}
	}
	return b, nil
}

func appendPayload(b []byte, next PayloadType, p Payload) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	var flags uint8
	if o, ok := p.(Opaque); ok && o.Critical {
		flags = criticalBit
	}
	start := len(b)
	b = p.appendBody(append(b, uint8(next), flags, 0, 0))
	if len(b)-start > 0xffff {
		return nil, ErrTooLong
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return b, nil
}
