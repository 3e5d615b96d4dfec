package ah

import (
	"encoding/binary"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// Locate returns the offset of the AH in an IPv4 or IPv6 datagram: behind the IPv4 header
// and its options, or behind at most ipwire.MaxExtensionHeaders hop-by-hop, routing and
// destination options headers. Bytes after the datagram are ignored. At the offset there is
// a whole fixed AH; its own length field has not been looked at. Errors: ErrShort, ErrNoAH,
// ErrFragment, ErrHeaders.
func Locate(packet []byte) (at int, err error) {
	datagram, err := trim(packet)
	if err != nil {
		return 0, err
	}
	return locate(datagram)
}

// locate is Locate in what trim has returned.
func locate(datagram []byte) (at int, err error) {
	if ipwire.Version(datagram) == 4 {
		return locateIPv4(datagram)
	}
	return locateIPv6(datagram)
}

// trim cuts packet to its own length.
func trim(packet []byte) ([]byte, error) {
	n, err := ipwire.DatagramLen(packet)
	switch err {
	case nil:
		return packet[:n:n], nil
	case ipwire.ErrHeaderLength:
		return nil, ErrHeaders
	case ipwire.ErrVersion:
		return nil, ErrNoAH
	}
	return nil, ErrShort
}

func locateIPv4(h ipwire.IPv4) (int, error) {
	switch {
	case h.MoreFragments() || h.FragmentOffset() != 0:
		return 0, ErrFragment
	case h.Protocol() != ipwire.ProtoAH:
		return 0, ErrNoAH
	case len(h.Payload()) < fixedLen:
		return 0, ErrShort
	}
	return h.HeaderLen(), nil
}

// extension is one IPv6 extension header that may stand before an AH.
type extension struct {
	kind uint8
	at   int // from the datagram's start
	len  int
}

// extensionAt returns the header of the given kind at offset at. Errors: ErrShort,
// ErrFragment, ErrHeaders, ErrNoAH.
func extensionAt(datagram []byte, kind uint8, at int) (extension, error) {
	rest := datagram[at:]
	switch kind {
	case ipwire.ProtoHopByHop:
		if at != ipwire.IPv6HeaderLen {
			return extension{}, ErrHeaders // RFC 8200 section 4.1: first or not at all
		}
	case ipwire.ProtoRouting, ipwire.ProtoDestination:
	case ipwire.ProtoFragment:
		return extension{}, ErrFragment // RFC 4302 appendix A2
	default:
		return extension{}, ErrNoAH
	}
	if len(rest) < 8 {
		return extension{}, ErrShort
	}
	n := 8 + int(rest[1])*8
	if n > len(rest) {
		return extension{}, ErrShort
	}
	return extension{kind: kind, at: at, len: n}, nil
}

func locateIPv6(h ipwire.IPv6) (int, error) {
	kind, at := h.NextHeader(), ipwire.IPv6HeaderLen
	for i := 0; kind != ipwire.ProtoAH; i++ {
		if i == ipwire.MaxExtensionHeaders {
			return 0, ErrHeaders
		}
		e, err := extensionAt(h, kind, at)
		if err != nil {
			return 0, err
		}
		kind, at = h[e.at], e.at+e.len
	}
	if len(h)-at < fixedLen {
		return 0, ErrShort
	}
	return at, nil
}

// headerLen is the length of the AH at offset at, as it says itself.
func headerLen(datagram []byte, at int) int {
	return (int(datagram[at+lengthAt]) + lengthOff) * 4
}

// seqLow is the sequence number's low half, as it stands in the AH.
func seqLow(datagram []byte, at int) uint32 {
	return binary.BigEndian.Uint32(datagram[at+seqAt:])
}
