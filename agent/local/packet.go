package local

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// ErrPacket: a description of a packet cannot be read.
var ErrPacket = errors.New("cannot read the packet")

// packetForms are what ParsePacket reads, for error messages.
const packetForms = `want "tcp 10.1.0.1:40000 > 10.2.0.2:443", "udp [fd00::1]:53 > [fd00::2]:53", "icmp 10.1.0.1 > 10.2.0.2 8/0", "47 10.1.0.1 > 10.2.0.2" or "hex 4500…"`

// ParsePacket makes a packet of its description: protocol (a name or number), source, destination, and for ICMP
// the type and code. size is its whole length in bytes, at least its headers'; df sets IPv4's bit.
func ParsePacket(text string, size int, df bool) ([]byte, error) {
	words := strings.Fields(text)
	if len(words) == 2 && words[0] == "hex" {
		b, err := hex.DecodeString(words[1])
		if err != nil {
			return nil, fmt.Errorf("%w: %q is not hexadecimal: %w", ErrPacket, words[1], err)
		}
		return b, nil
	}
	if len(words) < 4 || words[2] != ">" {
		return nil, fmt.Errorf("%w: %q: %s", ErrPacket, text, packetForms)
	}
	proto, ported, err := protocolOf(words[0])
	if err != nil {
		return nil, err
	}
	src, err := endOf(words[1], ported)
	if err != nil {
		return nil, err
	}
	dst, err := endOf(words[3], ported)
	if err != nil {
		return nil, err
	}
	if src.Addr().Is4() != dst.Addr().Is4() {
		return nil, fmt.Errorf("%w: %v and %v are of two families", ErrPacket, src.Addr(), dst.Addr())
	}
	transport, err := transportOf(proto, ported, src, dst, words[4:])
	if err != nil {
		return nil, err
	}
	return datagram(proto, src.Addr(), dst.Addr(), transport, size, df)
}

func protocolOf(word string) (proto uint8, ported bool, err error) {
	switch word {
	case "tcp":
		return ipwire.ProtoTCP, true, nil
	case "udp":
		return ipwire.ProtoUDP, true, nil
	case "sctp":
		return ipwire.ProtoSCTP, true, nil
	case "icmp":
		return ipwire.ProtoICMP, false, nil
	case "icmpv6":
		return ipwire.ProtoICMPv6, false, nil
	}
	n, err := strconv.ParseUint(word, 10, 8)
	if err != nil {
		return 0, false, fmt.Errorf("%w: protocol %q: want tcp, udp, sctp, icmp, icmpv6 or a number up to 255", ErrPacket, word)
	}
	return uint8(n), n == ipwire.ProtoTCP || n == ipwire.ProtoUDP || n == ipwire.ProtoSCTP, nil
}

func endOf(word string, ported bool) (netip.AddrPort, error) {
	if ported {
		ap, err := netip.ParseAddrPort(word)
		if err != nil {
			return ap, fmt.Errorf("%w: %q: want an address and a port, as 10.1.0.1:443 or [fd00::1]:443", ErrPacket, word)
		}
		return ap, nil
	}
	a, err := netip.ParseAddr(word)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("%w: %q is not an address", ErrPacket, word)
	}
	return netip.AddrPortFrom(a, 0), nil
}

// transportOf makes the transport header, as far as selectors look at it.
func transportOf(proto uint8, ported bool, src, dst netip.AddrPort, rest []string) ([]byte, error) {
	b := make([]byte, ipwire.TCPMinHeaderLen)
	switch {
	case ported && len(rest) == 0:
		b[0], b[1] = byte(src.Port()>>8), byte(src.Port())
		b[2], b[3] = byte(dst.Port()>>8), byte(dst.Port())
		return b, nil
	case (proto == ipwire.ProtoICMP || proto == ipwire.ProtoICMPv6) && len(rest) <= 1:
		b[0] = 8 // echo request
		if proto == ipwire.ProtoICMPv6 {
			b[0] = 128
		}
		if len(rest) == 0 {
			return b, nil
		}
		kind, code, _ := strings.Cut(rest[0], "/")
		t, err1 := strconv.ParseUint(kind, 10, 8)
		c, err2 := strconv.ParseUint(code, 10, 8)
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("%w: %q: want ICMP's type and code, as 8/0", ErrPacket, rest[0])
		}
		b[0], b[1] = byte(t), byte(c)
		return b, nil
	case len(rest) == 0:
		return b, nil
	}
	return nil, fmt.Errorf("%w: %q is too much: %s", ErrPacket, strings.Join(rest, " "), packetForms)
}

func datagram(proto uint8, src, dst netip.Addr, transport []byte, size int, df bool) ([]byte, error) {
	header := ipwire.IPv6HeaderLen
	if src.Is4() {
		header = ipwire.IPv4MinHeaderLen
	}
	if size > 65535 {
		return nil, fmt.Errorf("%w: %d bytes are more than a packet has", ErrPacket, size)
	}
	b := make([]byte, max(header+len(transport), size))
	copy(b[header:], transport)
	var err error
	if src.Is4() {
		_, err = ipwire.PutIPv4(b, ipwire.IPv4Header{ID: 1, DontFragment: df, TTL: 64, Protocol: proto, Src: src, Dst: dst})
	} else {
		_, err = ipwire.PutIPv6(b, ipwire.IPv6Header{NextHeader: proto, HopLimit: 64, Src: src, Dst: dst})
	}
	return b, err
}
