// Package esp seals and opens ESP packets, RFC 4303, in tunnel and transport mode, with every
// suite of package transform: combined modes, and a cipher or none with an integrity algorithm.
// The caller owns the buffers.
//
//	 0       4       8            16                                n
//	┌───────┬───────┬────────────┬─────────┬─────┬───────┬────┬────┬─────┐
//	│  SPI  │  seq  │     IV     │ payload │ TFC │1 2 3 …│ pl │ nh │ ICV │
//	└───────┴───────┴────────────┴─────────┴─────┴───────┴────┴────┴─────┘
//	│         HeaderLen          │          body: encrypted        │
//	│ AAD: with ESN │
//	│  64-bit seq   │            combined modes; GMAC's AAD goes on to nh
//	│  ICV: up to nh, then with ESN the high half of seq          others  │
//
// A Sealer owns the key, the salt and the sequence number of an outbound SA: no
// caller ever passes an IV or a sequence number, so that none is used twice. An
// Opener owns the key and the replay window of an inbound SA: neither the window
// nor anything else moves before the ICV has been verified.
package esp

import (
	"encoding/binary"
	"errors"
)

// Next headers of tunnel mode, RFC 4303 section 2.6. Transport mode has the next layer
// protocol's number, and the dummy's.
const (
	NextHeaderIPv4  uint8 = 4
	NextHeaderIPv6  uint8 = 41
	NextHeaderDummy uint8 = 59 // to be discarded: traffic flow confidentiality, NAT probes
)

// MinSPI is the lowest SPI that an SA may have; 1 to 255 are reserved by IANA and 0
// is for local use (RFC 4303 section 2.1).
const MinSPI = 256

// Reasons why Open drops a packet; the datapath counts each of them. All but the
// last three leave the SA untouched: those tell of a packet whose ICV was right, so
// that its sequence number is used up.
var (
	// ErrShort: the packet cannot hold header, IV, trailer and ICV.
	ErrShort = errors.New("esp: packet is too short")
	// ErrReservedSPI: the SPI is between 0 and 255.
	ErrReservedSPI = errors.New("esp: SPI is reserved")
	// ErrSPI: the packet's SPI is not this SA's.
	ErrSPI = errors.New("esp: packet is for another SPI")
	// ErrAlignment: what is encrypted is no whole number of cipher blocks.
	ErrAlignment = errors.New("esp: body is not a multiple of the cipher's block")
	// ErrReplayed: the sequence number was seen before, or is 0.
	ErrReplayed = errors.New("esp: packet is replayed")
	// ErrLate: the sequence number lies left of the replay window. With ESN such a packet
	// mostly counts as ErrICV, since its low half is taken for one of the next 2^32.
	ErrLate = errors.New("esp: packet is left of the replay window")
	// ErrICV: the integrity check failed: forged, damaged, or sealed under another key.
	ErrICV = errors.New("esp: integrity check failed")
	// ErrPadding: the padding is longer than the packet or not 1, 2, 3, … .
	ErrPadding = errors.New("esp: bad padding")
	// ErrNextHeader: the next header is none of tunnel mode's.
	ErrNextHeader = errors.New("esp: next header is not for tunnel mode")
	// ErrBadInnerLength: the inner datagram is malformed, longer than the payload, or
	// not of the next header's IP version.
	ErrBadInnerLength = errors.New("esp: bad length of the inner packet")
)

// Reasons why Seal refuses. No sequence number is used up.
var (
	// ErrSequenceExhausted: the SA has sent its last packet; it must be replaced.
	ErrSequenceExhausted = errors.New("esp: sequence numbers are exhausted")
	// ErrCeiling: the next sequence number lies above the ceiling; RaiseCeiling lets the SA go on.
	ErrCeiling = errors.New("esp: the next sequence number is not reserved yet")
	// ErrNoSpace: dst has too little capacity for the sealed packet.
	ErrNoSpace = errors.New("esp: buffer has too little space")
)

const (
	spiLen     = 4
	seqLen     = 4
	fixedLen   = spiLen + seqLen
	trailerLen = 2 // pad length, next header
	minAlign   = 4 // RFC 4303 section 2.4
)

// SPI returns the SPI of an ESP packet, to find its SA. Errors: ErrShort when the
// packet has no whole fixed header, ErrReservedSPI.
func SPI(packet []byte) (uint32, error) {
	if len(packet) < fixedLen {
		return 0, ErrShort
	}
	spi := binary.BigEndian.Uint32(packet)
	if spi < MinSPI {
		return 0, ErrReservedSPI
	}
	return spi, nil
}
