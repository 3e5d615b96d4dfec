package esp

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// maxSeq is the last sequence number of an SA: all 32 bits without ESN; with it, half
// the space, so that no arithmetic near 2^64 is ever needed.
func maxSeq(esn bool) uint64 {
	if esn {
		return math.MaxInt64
	}
	return math.MaxUint32
}

// Sealer is one outbound SA. It must not be copied and is not safe for concurrent
// use: an SA has one sending worker, whose packets leave in the order of their
// numbers.
type Sealer struct {
	_ noCopy
	suite
	ivs ivMaker
	seq uint64 // last one used

	last    uint64 // to be used: the lower one of ceiling and maxSeq
	ceiling uint64 // 0 is none
}

// NewSealer starts an outbound SA at sequence number 1, or above Config.Sequence. The caller
// must never start two from one key whose numbers meet: what protects is that a key reaches
// one epoch, once, or that a ceiling is kept. Errors: ErrReservedSPI; ErrSequenceExhausted when
// Sequence lies past the last number; transform's ErrKeyLength, ErrUnknown, ErrNoIntegrity,
// ErrTwoIntegrities.
func NewSealer(c Config) (*Sealer, error) {
	if c.Sequence > maxSeq(c.ESN) {
		return nil, fmt.Errorf("%w: it would go on after %d, the last is %d", ErrSequenceExhausted, c.Sequence, maxSeq(c.ESN))
	}
	suite, err := newSuite(c)
	if err != nil {
		return nil, err
	}
	ivs, err := newIVMaker(c)
	if err != nil {
		return nil, err
	}
	s := &Sealer{suite: suite, ivs: ivs, seq: c.Sequence, last: maxSeq(c.ESN)}
	s.setCeiling(c.Ceiling)
	return s, nil
}

func (s *Sealer) setCeiling(n uint64) {
	if n != 0 {
		s.ceiling, s.last = n, min(n, maxSeq(s.esn))
	}
}

// RaiseCeiling allows the numbers up to n. A ceiling never goes down, and an SA that has none
// gets none.
func (s *Sealer) RaiseCeiling(n uint64) {
	if s.ceiling != 0 {
		s.setCeiling(max(n, s.ceiling))
	}
}

// Ceiling is the last number that may be used until RaiseCeiling, 0 for none.
func (s *Sealer) Ceiling() uint64 { return s.ceiling }

// Seq is the last sequence number used, before the first packet Config.Sequence.
func (s *Sealer) Seq() uint64 { return s.seq }

// Remaining is how many packets the SA can still seal, as long as its ceiling is raised in time.
func (s *Sealer) Remaining() uint64 { return maxSeq(s.esn) - s.seq }

// Seal appends to dst the ESP packet that carries payload under the next sequence
// number, and returns the extended dst. dst must have capacity for
// SealedLen(len(payload)) bytes more, else ErrNoSpace. Nothing is allocated, except that
// AES-GMAC and AES-GCM with an 8-byte ICV keep a scratch buffer of the longest packet.
//
// A payload that lies at dst[len(dst)+HeaderLen():] already is sealed in place; one
// that lies elsewhere, overlapping that space or not, is copied there first.
//
// On an error (ErrNoSpace, ErrSequenceExhausted, ErrCeiling) neither dst's space nor the SA has changed.
func (s *Sealer) Seal(dst, payload []byte, nextHeader uint8) ([]byte, error) {
	return s.SealTFC(dst, payload, nextHeader, 0)
}

// SealTFC is Seal with tfc zero bytes between the payload and the padding, RFC 4303
// section 2.7; the receiver finds the payload's end by the inner IP header. The
// packet takes SealedLen(len(payload)+tfc) bytes.
func (s *Sealer) SealTFC(dst, payload []byte, nextHeader uint8, tfc int) ([]byte, error) {
	space := cap(dst) - len(dst)
	tfc = max(tfc, 0)
	if tfc > space { // before it is added to anything: it may be huge
		return dst, ErrNoSpace
	}
	n := len(payload) + tfc
	packet, err := s.begin(dst, n)
	if err != nil {
		return dst, err
	}
	body := s.body(packet)
	place(body, payload)
	clear(body[len(payload):n])
	putTrailer(body[n:], nextHeader)
	s.putHeader(packet)
	s.protect(packet, body, s.seq)
	return dst[:len(dst)+len(packet)], nil
}

// SealTail is Seal for a payload outside of dst whose memory goes on behind it: MaxTrailer bytes there are
// overwritten, so that to encrypt is the only copy. Without that capacity it is Seal.
func (s *Sealer) SealTail(dst, payload []byte, nextHeader uint8) ([]byte, error) {
	n := len(payload)
	length := s.bodyLen(n)
	if cap(payload) < length {
		return s.Seal(dst, payload, nextHeader)
	}
	packet, err := s.begin(dst, n)
	if err != nil {
		return dst, err
	}
	body := payload[:length]
	putTrailer(body[n:], nextHeader)
	s.putHeader(packet)
	s.protect(packet, body, s.seq)
	return dst[:len(dst)+len(packet)], nil
}

// MaxTrailer is the longest padding that sealing adds, with its length and next header.
const MaxTrailer = 15 + trailerLen

// begin takes the next sequence number for a packet with n bytes of payload, which lies behind dst.
func (s *Sealer) begin(dst []byte, n int) ([]byte, error) {
	total := s.SealedLen(n)
	if total > cap(dst)-len(dst) {
		return nil, ErrNoSpace
	}
	if s.seq >= s.last {
		return nil, s.refusal()
	}
	s.seq++
	return dst[len(dst) : len(dst)+total], nil
}

func (s *Sealer) refusal() error {
	if s.seq >= maxSeq(s.esn) {
		return ErrSequenceExhausted
	}
	return ErrCeiling
}

// putHeader writes SPI, sequence number and IV.
func (s *Sealer) putHeader(packet []byte) {
	binary.BigEndian.PutUint32(packet, s.spi)
	binary.BigEndian.PutUint32(packet[spiLen:], uint32(s.seq))
	s.ivs.put(s.iv(packet), s.seq)
}

// place moves payload to the front of body unless it is there.
func place(body, payload []byte) {
	if len(payload) > 0 && &body[0] != &payload[0] {
		copy(body, payload)
	}
}

// putTrailer fills what follows the payload: padding 1, 2, 3, …, its length, the next header.
func putTrailer(trailer []byte, nextHeader uint8) {
	pad := len(trailer) - trailerLen
	for i := range pad {
		trailer[i] = byte(i + 1)
	}
	trailer[pad] = byte(pad)
	trailer[pad+1] = nextHeader
}

// Format implements fmt.Formatter: for every verb the SPI and the sequence number, no key.
func (s *Sealer) Format(f fmt.State, _ rune) {
	io.WriteString(f, fmt.Sprintf("esp.Sealer{spi=%#08x seq=%d}", s.spi, s.seq))
}
