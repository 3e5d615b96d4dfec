// Package fragment splits IP datagrams and joins fragments again, and remembers what policy a datagram's fragments
// fall under.
//
//	Split        one datagram ──▶ fragments that fit a path (RFC 791, RFC 8200 section 4.5)
//	Reassembler  fragments in any order ──▶ the datagram (RFC 815's task; RFC 5722: no overlaps), bounded memory
//	Tracker      first fragment's ports ──▶ those of the later ones (RFC 4301 section 7.3)
//
// Nothing is allocated per packet. None of it is safe for concurrent use.
package fragment

import (
	"encoding/binary"
	"errors"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

var (
	// ErrMTU: a fragment of that size holds no 8 bytes of payload, or the first one not all headers.
	ErrMTU = errors.New("fragment: the MTU is too small for a fragment")
	// ErrSpace: the space given is too small.
	ErrSpace = errors.New("fragment: not enough space for the fragments")
	// ErrDontFragment: the packet's DF bit is set.
	ErrDontFragment = errors.New("fragment: the packet must not be fragmented")
	// ErrHeaders: the packet's own headers are malformed.
	ErrHeaders = errors.New("fragment: malformed headers")
)

const (
	unit              = 8 // fragment offsets count 8 bytes
	fragmentHeaderLen = 8 // IPv6
	// mostHeaders6 is the longest unfragmentable part that is taken.
	mostHeaders6 = 512
	// leastUpper is what the first fragment has of the upper layer header, at least.
	leastUpper = 8
)

// SplitSpace returns how many bytes of space Split needs at most for a packet of n bytes. That is a little more
// than n, but much more for an MTU that headers of mostHeaders6 bytes would nearly fill: no IPv6 link has one.
func SplitSpace(n, mtu int) int {
	const headers = mostHeaders6 + fragmentHeaderLen
	body := max(unit, (max(mtu, 0)-headers)/unit*unit)
	return n + (n/body+2)*headers
}

// Split writes the fragments of an IPv4 or IPv6 datagram, each of at most mtu bytes, one behind the other into space
// and appends them to dst. A packet that fits is its own only fragment. id is the identification of a datagram that
// is none yet; an IPv4 fragment that is split further keeps its own. IPv4's never is 0.
//
// IPv4 options without the copied flag go into the first fragment only (RFC 791 section 3.1). In IPv6 every fragment
// repeats the unfragmentable part: the headers up to hop-by-hop options or the routing header; a packet that has a
// fragment header already is ErrHeaders. Its first fragment has all extension headers and 8 bytes of what follows
// (RFC 7112 section 5), or it is ErrMTU. After an error dst is as it was.
func Split(dst [][]byte, space, packet []byte, mtu int, id uint32) ([][]byte, error) {
	split := split6
	if ipwire.Version(packet) == 4 {
		split = split4
	}
	pieces, err := split(dst, space, packet, max(mtu, 0), id)
	if err != nil {
		return dst, err
	}
	return pieces, nil
}

func split4(dst [][]byte, space, packet []byte, mtu int, id uint32) ([][]byte, error) {
	h, err := ipwire.ParseIPv4(packet)
	switch {
	case err != nil:
		return dst, ErrHeaders
	case len(h) <= mtu:
		return whole(dst, space, h)
	case h.DontFragment():
		return dst, ErrDontFragment
	}
	later, n := laterOptions(h.Options())
	own, base, more := h.ID(), h.FragmentOffset(), h.MoreFragments()
	if base == 0 && !more {
		own = uint16(id)
		if own == 0 {
			own = 1
		}
	}
	payload := h.Payload()
	switch {
	case len(payload) == 0:
		return dst, ErrMTU // the header alone is too long
	case base+len(payload) > maxDatagram-ipwire.IPv4MinHeaderLen, more && len(payload)%unit != 0:
		return dst, ErrHeaders // no datagram has such a fragment
	}
	for at := 0; at < len(payload); {
		header, options := ipwire.IPv4MinHeaderLen+len(h.Options()), h.Options()
		if at > 0 {
			header, options = ipwire.IPv4MinHeaderLen+n, later[:n]
		}
		body := (mtu - header) / unit * unit
		if body <= 0 {
			return dst, ErrMTU
		}
		last := len(payload)-at <= mtu-header
		if last {
			body = len(payload) - at
		}
		if len(space) < header+body {
			return dst, ErrSpace
		}
		f := space[: header+body : header+body]
		space = space[header+body:]
		copy(f, h[:ipwire.IPv4MinHeaderLen])
		copy(f[ipwire.IPv4MinHeaderLen:], options)
		copy(f[header:], payload[at:at+body])
		f[0] = 0x40 | byte(header/4)
		binary.BigEndian.PutUint16(f[4:], own)
		offset := uint16((base + at) / unit)
		if !last || more {
			offset |= 0x2000
		}
		binary.BigEndian.PutUint16(f[6:], offset)
		ipwire.SetLength(f)
		dst = append(dst, f)
		at += body
	}
	return dst, nil
}

// whole is a packet that fits.
func whole(dst [][]byte, space, packet []byte) ([][]byte, error) {
	if len(space) < len(packet) {
		return dst, ErrSpace
	}
	n := copy(space, packet)
	return append(dst, space[:n:n]), nil
}

// laterOptions are the options that go into every fragment, padded to 4 bytes; n is their length. What is malformed
// ends them.
func laterOptions(options []byte) (out [40]byte, n int) {
	for len(options) > 0 {
		kind := options[0]
		if kind == 0 {
			break
		}
		if kind == 1 {
			options = options[1:]
			continue
		}
		if len(options) < 2 || int(options[1]) < 2 || int(options[1]) > len(options) {
			break
		}
		l := int(options[1])
		if kind&0x80 != 0 {
			n += copy(out[n:], options[:l])
		}
		options = options[l:]
	}
	return out, (n + 3) / 4 * 4
}

func split6(dst [][]byte, space, packet []byte, mtu int, id uint32) ([][]byte, error) {
	h, err := ipwire.ParseIPv6(packet)
	if err != nil {
		return dst, ErrHeaders
	}
	if len(h) <= mtu {
		return whole(dst, space, h)
	}
	at, next, err := ipwire.InsertionPoint(h)
	if err != nil || at > mostHeaders6 {
		return dst, ErrHeaders
	}
	upper, err := h.Upper()
	if err != nil {
		return dst, ErrHeaders
	}
	header, payload := at+fragmentHeaderLen, h[at:]
	if chain := min(upper.Offset+leastUpper, len(h)) - at; (mtu-header)/unit <= 0 || (mtu-header)/unit*unit < chain {
		return dst, ErrMTU
	}
	for offset := 0; offset < len(payload); {
		body, last := (mtu-header)/unit*unit, len(payload)-offset <= mtu-header
		if last {
			body = len(payload) - offset
		}
		if len(space) < header+body {
			return dst, ErrSpace
		}
		f := space[: header+body : header+body]
		space = space[header+body:]
		copy(f, h[:at])
		f[at], f[at+1] = h[next], 0
		f[next] = ipwire.ProtoFragment
		place := uint16(offset)
		if !last {
			place |= 1
		}
		binary.BigEndian.PutUint16(f[at+2:], place)
		binary.BigEndian.PutUint32(f[at+4:], id)
		copy(f[header:], payload[offset:offset+body])
		ipwire.SetLength(f)
		dst = append(dst, f)
		offset += body
	}
	return dst, nil
}
