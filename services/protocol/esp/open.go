package esp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/replay"
)

// Opened is an authenticated packet.
type Opened struct {
	Payload    []byte // in the packet's own memory; tunnel mode: one IP datagram, or a dummy's content
	NextHeader uint8  // tunnel mode: NextHeaderIPv4, NextHeaderIPv6 or NextHeaderDummy
	Seq        uint64 // whole sequence number; with ESN the inferred 64 bits
}

// Opener is one inbound SA. It must not be copied and is not safe for concurrent use:
// keep it on one worker or behind a lock.
type Opener struct {
	_ noCopy
	suite
	window    *replay.Window
	transport bool
}

// NewOpener starts an inbound SA with an empty replay window. Errors: ErrReservedSPI,
// replay.ErrSize, replay.ErrESN; transform's ErrKeyLength, ErrUnknown, ErrNoIntegrity, ErrTwoIntegrities.
func NewOpener(c Config) (*Opener, error) {
	suite, err := newSuite(c)
	if err != nil {
		return nil, err
	}
	window, err := replay.New(c.Window, c.ESN)
	if err != nil {
		return nil, err
	}
	return &Opener{suite: suite, window: window, transport: c.Transport}, nil
}

// Top is the highest sequence number accepted, 0 before the first packet.
func (o *Opener) Top() uint64 { return o.window.Top() }

// Open verifies and decrypts one ESP packet, from its SPI to its ICV, in place: the
// packet's bytes are gone afterwards, whatever the result.
//
// In order: lengths and SPI, the replay window is asked, the ICV is verified, the
// window moves, then the padding and, in tunnel mode, next header and inner length are looked
// at. The errors are the sentinels of this package, never wrapped.
//
// In transport mode the payload is what the peer put there: TFC padding, which only a
// protocol with a length of its own can bear, is still behind it (RFC 4303 section 2.7).
func (o *Opener) Open(packet []byte) (Opened, error) {
	if err := o.checkHeader(packet); err != nil {
		return Opened{}, err
	}
	seq, err := o.window.Infer(binary.BigEndian.Uint32(packet[spiLen:]))
	if err == nil {
		err = o.window.Check(seq)
	}
	if err != nil {
		return Opened{}, dropReason(err)
	}
	body, err := o.verify(packet, seq)
	if err != nil {
		return Opened{}, err
	}
	if err := o.window.Accept(seq); err != nil {
		return Opened{}, dropReason(err)
	}
	payload, nextHeader, err := parseTrailer(body)
	if err != nil {
		return Opened{}, err
	}
	if !o.transport {
		payload, err = trimInner(payload, nextHeader)
	}
	if err != nil {
		return Opened{}, err
	}
	return Opened{Payload: payload, NextHeader: nextHeader, Seq: seq}, nil
}

func (o *Opener) checkHeader(packet []byte) error {
	spi, err := SPI(packet)
	switch {
	case err != nil:
		return err
	case len(packet) < o.header+trailerLen+o.icv:
		return ErrShort
	case spi != o.spi:
		return ErrSPI
	case o.wholeBlocks && len(o.body(packet))%o.align != 0:
		return ErrAlignment
	}
	return nil
}

func dropReason(err error) error {
	if errors.Is(err, replay.ErrLate) {
		return ErrLate
	}
	return ErrReplayed
}

// parseTrailer takes off padding, pad length and next header, RFC 4303 section 2.4:
// what a sender of these transforms pads with is 1, 2, 3, … .
func parseTrailer(body []byte) (payload []byte, nextHeader uint8, err error) {
	n := len(body) - trailerLen
	pad := int(body[n])
	if pad > n {
		return nil, 0, ErrPadding
	}
	for i, b := range body[n-pad : n] {
		if int(b) != i+1 {
			return nil, 0, ErrPadding
		}
	}
	return body[:n-pad], body[n+1], nil
}

// trimInner takes off TFC padding by the inner datagram's own length.
func trimInner(payload []byte, nextHeader uint8) ([]byte, error) {
	want := 0
	switch nextHeader {
	case NextHeaderIPv4:
		want = 4
	case NextHeaderIPv6:
		want = 6
	case NextHeaderDummy:
		return payload, nil
	default:
		return nil, ErrNextHeader
	}
	n, err := ipwire.DatagramLen(payload)
	if err != nil || ipwire.Version(payload) != want {
		return nil, ErrBadInnerLength
	}
	return payload[:n:n], nil
}

// Format implements fmt.Formatter: for every verb the SPI and the window's top, no key.
func (o *Opener) Format(f fmt.State, _ rune) {
	io.WriteString(f, fmt.Sprintf("esp.Opener{spi=%#08x top=%d}", o.spi, o.window.Top()))
}
