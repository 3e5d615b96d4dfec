package ikewire

import "fmt"

// Message is an IKE message. Payloads inside SK or SKF are not among its payloads.
type Message struct {
	Header   Header    // RFC 7296 section 3.1
	Payloads []Payload // 3.2, in their order

	raw []byte
}

// Parse reads a whole message and keeps a reference to b, as all parsed values do.
// Errors: those of ParseHeader, *PayloadError, *CriticalPayloadError. NotifyFor has the
// answer to each, ParseHeader the header to answer.
func Parse(b []byte) (*Message, error) {
	h, next, err := parseHeader(b)
	if err != nil {
		return nil, err
	}
	ps, err := parseChain(next, b[HeaderLen:], false)
	if err != nil {
		return nil, err
	}
	return &Message{Header: h, Payloads: ps, raw: b}, nil
}

// Raw returns the bytes that were parsed, as AUTH signs them (RFC 7296 section 2.15);
// nil for a message that was not parsed.
func (m *Message) Raw() []byte { return m.raw }

// Append writes the message. It refuses what Parse would refuse: *PayloadError,
// ErrTooLong.
func (m *Message) Append(b []byte) ([]byte, error) {
	start := len(b)
	b, err := appendChain(m.Header.append(b, FirstType(m.Payloads)), m.Payloads, false)
	if err != nil {
		return nil, err
	}
	length := len(b) - start
	if length > MaxMessage {
		return nil, fmt.Errorf("ikewire: message of %d bytes: %w", length, ErrTooLong)
	}
	setLength(b[start:], length)
	return b, nil
}
