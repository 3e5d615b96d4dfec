package fragment

import (
	"encoding/binary"
	"net/netip"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// key tells the fragments of one datagram from all others: RFC 791 section 2.3, RFC 8200 section 4.5.
type key struct {
	src, dst netip.Addr
	id       uint32
	proto    uint8 // IPv4 only
}

// piece is a view of one fragment.
type piece struct {
	key
	head       []byte // IPv4: the header; IPv6: the unfragmentable part
	next       int    // IPv6: where in head the next header byte is that names the fragment header
	upper      uint8  // IPv6: what follows the fragment header
	chainOK    bool   // IPv6: all extension headers are here, or it is not the first fragment
	payload    []byte
	start, end int // of the payload in the whole datagram
	more       bool
	ecn        uint8
}

// parse reads a fragment. A datagram that is whole gives a piece that begins at 0 and has no more.
func parse(packet []byte) (piece, error) {
	if ipwire.Version(packet) == 4 {
		return parse4(packet)
	}
	return parse6(packet)
}

// unfragmented returns a packet that has nothing of a fragment, cut to its length.
func unfragmented(packet []byte) ([]byte, bool) {
	if ipwire.Version(packet) == 4 {
		h, err := ipwire.ParseIPv4(packet)
		return h, err == nil && h.FragmentOffset() == 0 && !h.MoreFragments()
	}
	h, err := ipwire.ParseIPv6(packet)
	if err != nil {
		return nil, false
	}
	_, _, err = ipwire.FindHeader(h, ipwire.ProtoFragment)
	return h, err == ipwire.ErrProtocol
}

// headersOK reports whether the headers of a fragment can be trusted to be repeated: the IPv4 header checksum is
// right (RFC 1122 section 3.2.1.2), a first IPv6 fragment has all extension headers (RFC 8200 section 4.5).
func (p *piece) headersOK() bool {
	if !p.src.Is6() {
		return ipwire.IPv4(p.head).ChecksumOK()
	}
	return p.start > 0 || p.chainOK
}

func parse4(packet []byte) (piece, error) {
	h, err := ipwire.ParseIPv4(packet)
	if err != nil {
		return piece{}, ErrHeaders
	}
	p := piece{
		key:  key{src: h.Src(), dst: h.Dst(), id: uint32(h.ID()), proto: h.Protocol()},
		head: h[:h.HeaderLen()], payload: h.Payload(), start: h.FragmentOffset(), more: h.MoreFragments(), ecn: h.TOS() & 3,
	}
	return p.bounded()
}

func parse6(packet []byte) (piece, error) {
	h, err := ipwire.ParseIPv6(packet)
	if err != nil {
		return piece{}, ErrHeaders
	}
	at, next, err := ipwire.FindHeader(h, ipwire.ProtoFragment)
	if err != nil || at > mostHeaders6 || len(h)-at < fragmentHeaderLen {
		return piece{}, ErrHeaders
	}
	place := binary.BigEndian.Uint16(h[at+2:])
	_, chainErr := h.Upper()
	p := piece{
		key:  key{src: h.Src(), dst: h.Dst(), id: binary.BigEndian.Uint32(h[at+4:])},
		head: h[:at], next: next, upper: h[at], payload: h[at+fragmentHeaderLen:],
		start: int(place &^ 7), more: place&1 != 0, ecn: h.TrafficClass() & 3, chainOK: chainErr == nil,
	}
	return p.bounded()
}

// bounded checks lengths: RFC 8200 section 4.5, RFC 791 section 3.2.
func (p piece) bounded() (piece, error) {
	p.end = p.start + len(p.payload)
	switch {
	case len(p.payload) == 0 && (p.more || p.start > 0), p.more && len(p.payload)%unit != 0:
		return piece{}, ErrBadLength
	case p.end+p.fixed() > maxDatagram:
		return piece{}, ErrTooLong
	}
	return p, nil
}

// fixed is the length of the headers that count against the length field, or, of a later fragment, at least do.
func (p *piece) fixed() int {
	switch {
	case p.src.Is6() && p.start > 0:
		return 0
	case p.src.Is6():
		return len(p.head) - ipwire.IPv6HeaderLen
	case p.start > 0:
		return ipwire.IPv4MinHeaderLen
	}
	return len(p.head)
}

const maxDatagram = 65535
