package ikewire

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// HeaderLen is the length of the IKE header in bytes.
const HeaderLen = 28

const (
	majorVersion = 2
	version20    = majorVersion << 4
	nextOffset   = 16 // of Next Payload in the header
	lengthOffset = 24 // of Length in the header
)

// IKESPI identifies an IKE SA at one end, RFC 7296 section 3.1. The zero value is the
// responder's in the first message of an IKE_SA_INIT exchange.
type IKESPI [8]byte

// IsZero reports whether the SPI is the zero value.
func (s IKESPI) IsZero() bool { return s == IKESPI{} }

// String returns the SPI as 16 hexadecimal digits.
func (s IKESPI) String() string { return hex.EncodeToString(s[:]) }

// Flags are the header's flags, RFC 7296 section 3.1. Reserved bits are never set.
type Flags uint8

// Flags.
const (
	FlagInitiator Flags = 1 << 3 // sent by the original initiator of the IKE SA
	FlagVersion   Flags = 1 << 4 // the sender can speak a higher major version
	FlagResponse  Flags = 1 << 5 // answers the request with the same message ID

	flagMask = FlagInitiator | FlagVersion | FlagResponse
)

// Initiator reports whether the original initiator of the IKE SA sent the message.
func (f Flags) Initiator() bool { return f&FlagInitiator != 0 }

// Response reports whether the message is a response.
func (f Flags) Response() bool { return f&FlagResponse != 0 }

// String returns the RFC's letters of the flags that are set, such as "IR".
func (f Flags) String() string {
	s := ""
	for _, n := range []struct {
		flag Flags
		name string
	}{{FlagInitiator, "I"}, {FlagVersion, "V"}, {FlagResponse, "R"}} {
		if f&n.flag != 0 {
			s += n.name
		}
	}
	return s
}

// Header is the IKE header, RFC 7296 section 3.1, without what follows from the rest of
// the message: Next Payload, Version (always 2.0), Length.
type Header struct {
	InitiatorSPI IKESPI       // 3.1: chosen by the initiator
	ResponderSPI IKESPI       // 3.1: chosen by the responder
	Exchange     ExchangeType // 3.1
	Flags        Flags        // 3.1
	MessageID    uint32       // 3.1, 2.2
}

// ParseHeader reads the header of a whole message and checks its Length, but not what
// follows. With a VersionError the header is valid nevertheless, so that it can be
// answered. Errors: ErrTruncated, ErrTrailing, ErrTooLong, *VersionError.
func ParseHeader(message []byte) (Header, error) {
	h, _, err := parseHeader(message)
	return h, err
}

func parseHeader(message []byte) (Header, PayloadType, error) {
	var (
		h                              Header
		next, version, exchange, flags uint8
		length                         uint32
	)
	if len(message) > MaxMessage {
		return Header{}, 0, fmt.Errorf("ikewire: message of %d bytes: %w", len(message), ErrTooLong)
	}
	s := cryptobyte.String(message)
	if !s.CopyBytes(h.InitiatorSPI[:]) || !s.CopyBytes(h.ResponderSPI[:]) || !s.ReadUint8(&next) ||
		!s.ReadUint8(&version) || !s.ReadUint8(&exchange) || !s.ReadUint8(&flags) ||
		!s.ReadUint32(&h.MessageID) || !s.ReadUint32(&length) {
		return Header{}, 0, fmt.Errorf("ikewire: header of %d bytes: %w", len(message), ErrTruncated)
	}
	h.Exchange, h.Flags = ExchangeType(exchange), Flags(flags)&flagMask
	switch {
	case version>>4 != majorVersion:
		return h, 0, &VersionError{Major: version >> 4, Minor: version & 0xf}
	case int64(length) > int64(len(message)):
		return Header{}, 0, fmt.Errorf("ikewire: message of %d bytes says %d: %w", len(message), length, ErrTruncated)
	case int64(length) < int64(len(message)):
		return Header{}, 0, fmt.Errorf("ikewire: message of %d bytes says %d: %w", len(message), length, ErrTrailing)
	}
	return h, PayloadType(next), nil
}

// append writes the header with Length 0, which setLength fills in later.
func (h Header) append(b []byte, next PayloadType) []byte {
	b = append(b, h.InitiatorSPI[:]...)
	b = append(b, h.ResponderSPI[:]...)
	b = append(b, uint8(next), version20, uint8(h.Exchange), uint8(h.Flags&flagMask))
	b = binary.BigEndian.AppendUint32(b, h.MessageID)
	return binary.BigEndian.AppendUint32(b, 0)
}

func setLength(message []byte, length int) {
	binary.BigEndian.PutUint32(message[lengthOffset:], uint32(length))
}
