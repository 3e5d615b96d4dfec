package ah

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// maxSeq is the last sequence number of an SA: all 32 bits without ESN; with it, half
// the space, so that no arithmetic near 2^64 is ever needed.
func maxSeq(esn bool) uint64 {
	if esn {
		return math.MaxInt64
	}
	return math.MaxUint32
}

// Sealer is one outbound SA. It must not be copied and is not safe for concurrent use: an SA
// has one sending worker, whose packets leave in the order of their numbers.
type Sealer struct {
	_ noCopy
	sa
	align4  int // of the AH over IPv4
	seq     uint64
	ceiling uint64 // 0 is none
}

// NewSealer starts an outbound SA. The caller must never start two from one key whose numbers
// overlap. Errors: ErrReservedSPI; ErrSequenceExhausted when c.Sequence is above the last
// number; transform's ErrKeyLength, ErrUnknown.
func NewSealer(c Config) (*Sealer, error) {
	if c.Sequence > maxSeq(c.ESN) {
		return nil, fmt.Errorf("%w: %d", ErrSequenceExhausted, c.Sequence)
	}
	sa, err := newSA(c)
	if err != nil {
		return nil, err
	}
	s := &Sealer{sa: sa, align4: 4, seq: c.Sequence, ceiling: c.Ceiling}
	if c.Align8 {
		s.align4 = 8
	}
	return s, nil
}

// Seq is the last sequence number used, 0 before the first packet.
func (s *Sealer) Seq() uint64 { return s.seq }

// Remaining is how many packets the SA can still seal, whatever its ceiling is.
func (s *Sealer) Remaining() uint64 { return maxSeq(s.esn) - s.seq }

// Ceiling is the last number that may be used until RaiseCeiling, 0 for none.
func (s *Sealer) Ceiling() uint64 { return s.ceiling }

// RaiseCeiling allows sequence numbers up to n. A ceiling never goes down, and an SA that has
// none gets none.
func (s *Sealer) RaiseCeiling(n uint64) {
	if s.ceiling != 0 {
		s.ceiling = max(s.ceiling, n)
	}
}

// HeaderLen is the length of the AH with its padding, over IP version 4 or 6 (RFC 4302
// section 3.3.3.2.1).
func (s *Sealer) HeaderLen(version int) int {
	align := 8
	if version == 4 {
		align = s.align4
	}
	return (s.minLen() + align - 1) / align * align
}

// Seal fills in the AH at offset at of packet: one whole outgoing datagram, whose headers are
// final (the next header before the AH is 51, the lengths are right) and which has HeaderLen
// bytes of any content there. nextHeader is that of the payload behind them. Only those bytes
// change. Fields that may change en route may be set later: an IPv4 header's checksum, for one.
//
// On an error (ErrShort, ErrNoAH, ErrFragment, ErrHeaders, ErrRouting, ErrNoSpace,
// ErrSequenceExhausted, ErrCeiling) no sequence number is used up, and the packet is not to
// be sent.
func (s *Sealer) Seal(packet []byte, at int, nextHeader uint8) error {
	if err := s.checkPlace(packet, at); err != nil {
		return err
	}
	seq := s.seq + 1
	switch {
	case s.seq >= maxSeq(s.esn):
		return ErrSequenceExhausted
	case s.ceiling != 0 && seq > s.ceiling:
		return ErrCeiling
	}
	s.putHeader(packet, at, nextHeader, seq)
	if err := s.compute(packet, at, seq, true); err != nil {
		return err
	}
	s.seq = seq
	s.mac.AppendICV(s.icvOf(packet, at)[:0])
	return nil
}

// checkPlace says whether the AH belongs at that offset and has its space there.
func (s *Sealer) checkPlace(packet []byte, at int) error {
	datagram, err := trim(packet)
	if err != nil {
		return err
	}
	found, err := locate(datagram)
	switch {
	case err != nil:
		return err
	case found != at:
		return ErrNoAH
	case len(datagram) != len(packet) || len(packet)-at < s.HeaderLen(ipwire.Version(packet)):
		return ErrNoSpace
	}
	return nil
}

// putHeader writes the AH but the ICV. The IV is the sequence number in 64 bits, with or
// without ESN: it must only never repeat (RFC 4543 section 3.1).
func (s *Sealer) putHeader(packet []byte, at int, nextHeader uint8, seq uint64) {
	header := packet[at:][:s.HeaderLen(ipwire.Version(packet))]
	clear(header)
	header[nextAt] = nextHeader
	header[lengthAt] = byte(len(header)/4 - lengthOff)
	binary.BigEndian.PutUint32(header[spiAt:], s.spi)
	binary.BigEndian.PutUint32(header[seqAt:], uint32(seq))
	if s.iv > 0 {
		binary.BigEndian.PutUint64(header[fixedLen:], seq)
	}
}

// Format implements fmt.Formatter: for every verb the SPI and the sequence number, no key.
func (s *Sealer) Format(f fmt.State, _ rune) {
	io.WriteString(f, fmt.Sprintf("ah.Sealer{spi=%#08x seq=%d}", s.spi, s.seq))
}
