package ipwire

import "net/netip"

// checksumAt returns where in a whole datagram the transport checksum lies that covers the pseudo header, and from
// where to where it covers: UDP's length may leave a surplus (RFC 9868). ErrProtocol when there is none to change:
// another protocol, a fragment, UDP without a checksum, or a routing header that still has addresses to go, the last
// of which the pseudo header has (RFC 8200 section 8.1).
func checksumAt(packet []byte) (field, start, end int, proto uint8, err error) {
	switch Version(packet) {
	case 4:
		h, err := ParseIPv4(packet)
		switch {
		case err != nil:
			return 0, 0, 0, 0, err
		case h.FragmentOffset() != 0 || h.MoreFragments():
			return 0, 0, 0, 0, ErrProtocol // only a part of what it covers is here
		}
		start, end, proto = h.HeaderLen(), len(h), h.Protocol()
	case 6:
		h, err := ParseIPv6(packet)
		if err != nil {
			return 0, 0, 0, 0, err
		}
		u, err := h.Upper()
		switch {
		case err != nil:
			return 0, 0, 0, 0, err
		case h.inTransit():
			return 0, 0, 0, 0, ErrProtocol
		}
		start, end, proto = u.Offset, len(h), u.Proto
	default:
		return 0, 0, 0, 0, ErrVersion
	}
	switch {
	case proto == ProtoTCP:
		field = start + 16
	case proto == ProtoUDP || proto == ProtoUDPLite || proto == ProtoDCCP:
		field = start + 6
	case proto == ProtoICMPv6 && Version(packet) == 6:
		field = start + 2
	default:
		return 0, 0, 0, 0, ErrProtocol
	}
	switch {
	case field+2 > end:
		return 0, 0, 0, 0, ErrTruncated
	case (proto == ProtoUDP || proto == ProtoUDPLite) && be16(packet[field:]) == 0:
		return 0, 0, 0, 0, ErrProtocol
	}
	if proto == ProtoUDP {
		udp, err := ParseUDP(packet[start:end])
		if err != nil {
			return 0, 0, 0, 0, err
		}
		end = start + len(udp)
	}
	return field, start, end, proto, nil
}

// RepairChecksum makes the transport checksum of a whole datagram anew: TCP's, UDP's or ICMPv6's. UDP without a
// checksum stays so. It is for transport mode in UDP, where NAT has changed the addresses that the checksum covers
// and the original ones are not known (RFC 3948 section 3.1.2). Errors: ErrProtocol when there is no such
// checksum, and parse errors; the datagram is unchanged then.
func RepairChecksum(packet []byte) error {
	field, start, end, proto, err := checksumAt(packet)
	if err != nil {
		return err
	}
	if proto == ProtoDCCP || proto == ProtoUDPLite {
		return ErrProtocol // it covers a part that the header chooses: adjust it or leave it
	}
	src, dst := endsOf(packet)
	putBE16(packet[field:], 0)
	sum := ^AddSums(PseudoHeader(src, dst, proto, end-start), Sum(packet[start:end]))
	if sum == 0 && proto == ProtoUDP {
		sum = 0xffff
	}
	putBE16(packet[field:], sum)
	return nil
}

// AdjustChecksum changes the transport checksum of a whole datagram for its addresses, which were src and dst when it
// was made (RFC 1624): a datagram that was damaged on the way stays recognisable. It also does that for UDP-Lite and
// DCCP. Errors as of RepairChecksum; ErrVersion for addresses of another family.
func AdjustChecksum(packet []byte, src, dst netip.Addr) error {
	field, _, _, proto, err := checksumAt(packet)
	if err != nil {
		return err
	}
	nowSrc, nowDst := endsOf(packet)
	if nowSrc.BitLen() != src.BitLen() || nowDst.BitLen() != dst.BitLen() {
		return ErrVersion
	}
	was := AddSums(addressSum(src), addressSum(dst))
	now := AddSums(addressSum(nowSrc), addressSum(nowDst))
	sum := UpdateChecksum(be16(packet[field:]), was, now)
	if sum == 0 && (proto == ProtoUDP || proto == ProtoUDPLite) {
		sum = 0xffff
	}
	putBE16(packet[field:], sum)
	return nil
}

// inTransit reports whether a datagram is a part of one, or its destination address is not the last: it has a
// fragment header, or a routing header with segments left.
func (h IPv6) inTransit() bool {
	found := false
	_ = h.walk(func(x extension) bool {
		found = x.kind == ProtoFragment || x.kind == ProtoRouting && h[x.start+3] != 0
		return !found
	})
	return found
}

func endsOf(packet []byte) (src, dst netip.Addr) {
	if Version(packet) == 4 {
		return IPv4(packet).Src(), IPv4(packet).Dst()
	}
	return IPv6(packet).Src(), IPv6(packet).Dst()
}

func addressSum(a netip.Addr) uint16 {
	if a.Is4() {
		b := a.As4()
		return Sum(b[:])
	}
	b := a.As16()
	return Sum(b[:])
}
