// Package ah seals and opens packets with the IP Authentication Header, RFC 4302, in tunnel
// and transport mode, over IPv4 and IPv6. The caller owns the buffers and the header chain
// around the AH.
//
//	 0      1        2          4     8     12            12+n        HeaderLen
//	┌──────┬────────┬──────────┬─────┬─────┬─────────────┬───────────┬─────────┐
//	│ next │ length │ reserved │ SPI │ seq │ IV, ICV     │  padding  │ payload │
//	└──────┴────────┴──────────┴─────┴─────┴─────────────┴───────────┴─────────┘
//
// The ICV is computed over the whole IP datagram as it looks at its last destination, and
// with ESN over the sequence number's high half behind it (section 3.3.3):
//
//	IPv4   zeroed: TOS, flags, fragment offset, TTL, checksum; options but those of appendix A1
//	       predicted: the destination, by a source route
//	IPv6   zeroed: class, flow label, hop limit; data of options that may change en route
//	       predicted: the destination and a routing header of type 0 or 2
//	AH     zeroed: IV and ICV; not the padding
//
// AES-GMAC alone has an IV, in front of the ICV; RFC 4543 section 4 counts both as the field
// that RFC 4302 zeroes.
//
// A Sealer owns the key and the sequence number of an outbound SA, an Opener the key and the
// replay window of an inbound SA: neither the window nor anything else moves before the ICV
// has been verified.
package ah

import (
	"encoding/binary"
	"errors"
)

// MinSPI is the lowest SPI that an SA may have; 1 to 255 are reserved by IANA and 0
// is for local use (RFC 4302 section 2.4).
const MinSPI = 256

// Reasons why a datagram's headers cannot be protected or verified: of Locate, Seal, Open.
var (
	// ErrShort: the datagram ends before its headers or its AH do, or its length fields say so.
	ErrShort = errors.New("ah: packet is too short")
	// ErrNoAH: no AH is there, or a header stands before it that AH cannot follow.
	ErrNoAH = errors.New("ah: packet has no AH there")
	// ErrFragment: the datagram is a fragment, which must be reassembled first (RFC 4302 section 3.4.1).
	ErrFragment = errors.New("ah: packet is a fragment")
	// ErrHeaders: an option or extension header before the AH is malformed, or they are too many.
	ErrHeaders = errors.New("ah: malformed headers before the AH")
	// ErrRouting: a routing header has segments left at the receiver; or at the sender, and its
	// type is none that can be predicted; or its numbers, or a source route's, do not fit together.
	ErrRouting = errors.New("ah: routing header cannot be predicted")
)

// Other reasons why Open drops a packet; the datapath counts each of them. Nothing has moved.
var (
	// ErrReservedSPI: the SPI is between 0 and 255.
	ErrReservedSPI = errors.New("ah: SPI is reserved")
	// ErrSPI: the packet's SPI is not this SA's.
	ErrSPI = errors.New("ah: packet is for another SPI")
	// ErrLength: the AH's length field does not go with the SA's ICV and padding of 0 to 7 bytes.
	ErrLength = errors.New("ah: bad length of the AH")
	// ErrReplayed: the sequence number was seen before, or is 0. Not without a window.
	ErrReplayed = errors.New("ah: packet is replayed")
	// ErrLate: the sequence number lies left of the replay window. With ESN such a packet
	// mostly counts as ErrICV, since its low half is taken for one of the next 2^32.
	ErrLate = errors.New("ah: packet is left of the replay window")
	// ErrICV: the integrity check failed: forged, damaged, or sealed under another key.
	ErrICV = errors.New("ah: integrity check failed")
)

// Other reasons why Seal refuses. No sequence number is used up.
var (
	// ErrSequenceExhausted: the SA has sent its last packet; it must be replaced.
	ErrSequenceExhausted = errors.New("ah: sequence numbers are exhausted")
	// ErrCeiling: the next sequence number is above the ceiling; RaiseCeiling must come first.
	ErrCeiling = errors.New("ah: sequence number is above the ceiling")
	// ErrNoSpace: the datagram has no HeaderLen bytes at the AH's place, or is not as long as it says.
	ErrNoSpace = errors.New("ah: packet has no space for the AH, or another length than it says")
)

const (
	nextAt    = 0
	lengthAt  = 1
	spiAt     = 4
	seqAt     = 8
	fixedLen  = 12
	maxPad    = 7
	lengthOff = 2 // the length field counts 4-byte words, less 2 (RFC 4302 section 2.2)
)

// SPI returns the SPI of the AH at offset at of packet, to find its SA. Errors: ErrShort when
// there is no whole fixed AH, ErrReservedSPI.
func SPI(packet []byte, at int) (uint32, error) {
	if at < 0 || at > len(packet)-fixedLen {
		return 0, ErrShort
	}
	spi := binary.BigEndian.Uint32(packet[at+spiAt:])
	if spi < MinSPI {
		return 0, ErrReservedSPI
	}
	return spi, nil
}
