package ipwire

import (
	"encoding/binary"
	"net/netip"
)

// ICMP types and codes that say something about another packet, RFC 792 and RFC 4443.
const (
	icmpUnreachable      = 3
	icmpSourceQuench     = 4
	icmpRedirect         = 5
	icmpTimeExceeded     = 11
	icmpParameterProblem = 12
	icmpFragNeeded       = 4 // code of icmpUnreachable, RFC 1191

	icmp6TooBig    = 2
	icmp6LastError = 127 // types up to here are errors, RFC 4443 section 2.1
	icmp6Redirect  = 137 // RFC 4861 section 4.5
)

// How much of the packet an ICMP error quotes: the whole message is no longer than these.
const (
	maxICMPError4 = 576  // RFC 1812 section 4.3.2.3
	maxICMPError6 = 1280 // RFC 4443 section 2.4(c)

	tooBigHopLimit = 64
)

// AppendTooBig appends to dst the ICMP message that a packet is too big to be forwarded and may not be fragmented:
// "fragmentation needed" (RFC 1191) for IPv4, Packet Too Big (RFC 4443 section 3.2) for IPv6. mtu is what fits,
// in bytes.
//
// Its source is the packet's destination. A router would take its own address, but for a packet that this host
// itself has sent that would be one of the host's, and a stack ignores ICMP from itself.
//
// It returns false, and dst as it was, where none may be sent (RFC 1122 section 3.2.2, RFC 4443 section 2.4(e)): about
// a malformed packet, an ICMP error or redirect, a later fragment, or one whose source is not a single host.
func AppendTooBig(dst, packet []byte, mtu int) ([]byte, bool) {
	flow, err := ParseFlow(packet)
	if err != nil || flow.Fragment || !answerable(flow) {
		return dst, false
	}
	header, limit := IPv4MinHeaderLen, maxICMPError4
	if flow.Src.Is6() {
		header, limit = IPv6HeaderLen, maxICMPError6
	}
	n, _ := DatagramLen(packet)
	mtu = max(mtu, 0)
	quoted := packet[:min(n, limit-header-ICMPHeaderLen)]
	start := len(dst)
	for range header + ICMPHeaderLen {
		dst = append(dst, 0)
	}
	dst = append(dst, quoted...)
	message := dst[start:]
	icmp := message[header:]
	if flow.Src.Is4() {
		icmp[0], icmp[1] = icmpUnreachable, icmpFragNeeded
		putBE16(icmp[6:], uint16(min(mtu, 0xffff)))
		putBE16(icmp[2:], ^Sum(icmp))
		_, err = PutIPv4(message, IPv4Header{DontFragment: true, TTL: tooBigHopLimit, Protocol: ProtoICMP, Src: flow.Dst, Dst: flow.Src})
	} else {
		icmp[0] = icmp6TooBig
		binary.BigEndian.PutUint32(icmp[4:], uint32(mtu))
		putBE16(icmp[2:], ^AddSums(PseudoHeader(flow.Dst, flow.Src, ProtoICMPv6, len(icmp)), Sum(icmp)))
		_, err = PutIPv6(message, IPv6Header{NextHeader: ProtoICMPv6, HopLimit: tooBigHopLimit, Src: flow.Dst, Dst: flow.Src})
	}
	if err != nil {
		return dst[:start], false
	}
	return dst, true
}

// answerable reports whether an ICMP error may be sent about packets of a flow. The source of the message is the
// flow's destination, so that has to be a single host too.
func answerable(f Flow) bool {
	if !singleHost(f.Src) || !singleHost(f.Dst) {
		return false
	}
	switch kind := uint8(f.SrcPort >> 8); {
	case f.Opaque:
		return true
	case f.Proto == ProtoICMP:
		return !isICMPError(kind)
	case f.Proto == ProtoICMPv6:
		return kind > icmp6LastError && kind != icmp6Redirect
	}
	return true
}

// singleHost reports whether an address is one that a host on the net can have: not multicast, loopback or zero,
// nor of IPv4 network 0 or class E, of which 255.255.255.255 is a part.
func singleHost(a netip.Addr) bool {
	if a.IsMulticast() || a.IsUnspecified() || a.IsLoopback() {
		return false
	}
	if a.Is4() {
		first := a.As4()[0]
		return first != 0 && first < 240
	}
	return true
}

func isICMPError(kind uint8) bool {
	switch kind {
	case icmpUnreachable, icmpSourceQuench, icmpRedirect, icmpTimeExceeded, icmpParameterProblem:
		return true
	}
	return false
}

// ICMPError is an ICMP or ICMPv6 error message, with what it quotes.
type ICMPError struct {
	Type, Code uint8
	MTU        int    // of "too big" messages, bytes; 0 in others, and where an old router did not tell it
	Quoted     []byte // the packet that caused it, often cut short
}

// ParseICMPError reads a whole IP datagram that carries an ICMP error. Errors: those of ParseIPv4, ParseIPv6 and
// ParseICMP; ErrFragment; ErrProtocol when it is no ICMP error.
func ParseICMPError(packet []byte) (ICMPError, error) {
	flow, err := ParseFlow(packet)
	switch {
	case err != nil:
		return ICMPError{}, err
	case flow.Fragment:
		return ICMPError{}, ErrFragment
	case flow.Proto == ProtoICMP && flow.Src.Is4():
		return icmp4Error(IPv4(packet))
	case flow.Proto == ProtoICMPv6 && flow.Src.Is6():
		return icmp6Error(IPv6(packet))
	}
	return ICMPError{}, ErrProtocol
}

func icmp4Error(packet IPv4) (ICMPError, error) {
	h, err := ParseIPv4(packet)
	if err != nil {
		return ICMPError{}, err
	}
	icmp, err := ParseICMP(h.Payload())
	switch {
	case err != nil:
		return ICMPError{}, err
	case !isICMPError(icmp.Type()):
		return ICMPError{}, ErrProtocol
	}
	e := ICMPError{Type: icmp.Type(), Code: icmp.Code(), Quoted: icmp.Payload()}
	if e.Type == icmpUnreachable && e.Code == icmpFragNeeded {
		e.MTU = int(icmp.Rest() & 0xffff)
	}
	return e, nil
}

func icmp6Error(packet IPv6) (ICMPError, error) {
	h, err := ParseIPv6(packet)
	if err != nil {
		return ICMPError{}, err
	}
	u, err := h.Upper()
	if err != nil {
		return ICMPError{}, err
	}
	icmp, err := ParseICMP(h[u.Offset:])
	switch {
	case err != nil:
		return ICMPError{}, err
	case icmp.Type() > icmp6LastError:
		return ICMPError{}, ErrProtocol
	}
	e := ICMPError{Type: icmp.Type(), Code: icmp.Code(), Quoted: icmp.Payload()}
	if e.Type == icmp6TooBig {
		e.MTU = int(min(icmp.Rest(), 1<<31-1))
	}
	return e, nil
}

// QuotedFlow returns the selectors of the quoted packet, of which only the beginning has to be there: its headers up
// to the ports. Errors: those of ParseFlow.
func (e ICMPError) QuotedFlow() (Flow, error) {
	switch Version(e.Quoted) {
	case 4:
		if len(e.Quoted) < IPv4MinHeaderLen {
			return Flow{}, ErrTruncated
		}
		h := IPv4(e.Quoted)
		if h.HeaderLen() < IPv4MinHeaderLen || h.HeaderLen() > len(h) {
			return Flow{}, ErrHeaderLength
		}
		return h.Flow()
	case 6:
		if len(e.Quoted) < IPv6HeaderLen {
			return Flow{}, ErrTruncated
		}
		return IPv6(e.Quoted).Flow()
	}
	if len(e.Quoted) == 0 {
		return Flow{}, ErrTruncated
	}
	return Flow{}, ErrVersion
}
