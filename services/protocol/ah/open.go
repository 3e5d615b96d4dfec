package ah

import (
	"errors"
	"fmt"
	"io"

	"sallyport.dev/sallyport/services/protocol/replay"
)

// Opened is an authenticated packet.
type Opened struct {
	Payload    []byte // what follows the AH, in the packet's own memory
	NextHeader uint8  // of the payload, e.g. 4 or 41 in tunnel mode
	HeaderLen  int    // the AH's, with its padding
	Seq        uint64 // whole sequence number; with ESN the inferred 64 bits
}

// Opener is one inbound SA. It must not be copied and is not safe for concurrent use:
// keep it on one worker or behind a lock.
type Opener struct {
	_ noCopy
	sa
	window *replay.Window
}

// NewOpener starts an inbound SA with an empty replay window. Errors: ErrReservedSPI,
// replay.ErrSize, replay.ErrESN; transform's ErrKeyLength, ErrUnknown.
func NewOpener(c Config) (*Opener, error) {
	sa, err := newSA(c)
	if err != nil {
		return nil, err
	}
	window, err := replay.New(c.Window, c.ESN)
	if err != nil {
		return nil, err
	}
	return &Opener{sa: sa, window: window}, nil
}

// Top is the highest sequence number accepted, 0 before the first packet.
func (o *Opener) Top() uint64 { return o.window.Top() }

// Open verifies the AH at offset at of packet: one whole received datagram as it was on the
// wire, reassembled if it came in fragments. Bytes after the datagram are ignored. Nothing in
// it changes.
//
// In order: headers, lengths and SPI, the replay window is asked, the ICV is verified, the
// window moves. Whether the next header and the addresses are those that the SA is for is not
// looked at. The errors are the sentinels of this package, never wrapped.
func (o *Opener) Open(packet []byte, at int) (Opened, error) {
	datagram, n, err := o.checkHeaders(packet, at)
	if err != nil {
		return Opened{}, err
	}
	seq, err := o.window.Infer(seqLow(datagram, at))
	if err == nil {
		err = o.window.Check(seq)
	}
	if err != nil {
		return Opened{}, dropReason(err)
	}
	if err := o.compute(datagram, at, seq, false); err != nil {
		return Opened{}, err
	}
	if !o.mac.Verify(o.icvOf(datagram, at)) {
		return Opened{}, ErrICV
	}
	if err := o.window.Accept(seq); err != nil {
		return Opened{}, dropReason(err)
	}
	return Opened{Payload: datagram[at+n:], NextHeader: datagram[at+nextAt], HeaderLen: n, Seq: seq}, nil
}

// checkHeaders cuts packet to the datagram and returns it with the length of its AH. The
// padding may be that of IPv4, of IPv6 or of Linux over either.
func (o *Opener) checkHeaders(packet []byte, at int) (datagram []byte, n int, err error) {
	if datagram, err = trim(packet); err != nil {
		return nil, 0, err
	}
	found, err := locate(datagram)
	if err != nil {
		return nil, 0, err
	}
	if found != at {
		return nil, 0, ErrNoAH
	}
	spi, err := SPI(datagram, at)
	n = headerLen(datagram, at)
	switch {
	case err != nil:
		return nil, 0, err
	case spi != o.spi:
		return nil, 0, ErrSPI
	case n < o.minLen() || n > o.minLen()+maxPad:
		return nil, 0, ErrLength
	case n > len(datagram)-at:
		return nil, 0, ErrShort
	}
	return datagram, n, nil
}

func dropReason(err error) error {
	if errors.Is(err, replay.ErrLate) {
		return ErrLate
	}
	return ErrReplayed
}

// Format implements fmt.Formatter: for every verb the SPI and the window's top, no key.
func (o *Opener) Format(f fmt.State, _ rune) {
	io.WriteString(f, fmt.Sprintf("ah.Opener{spi=%#08x top=%d}", o.spi, o.Top()))
}
