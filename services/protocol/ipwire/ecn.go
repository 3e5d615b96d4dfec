package ipwire

// ECN codepoints, RFC 3168 section 5: the low two bits of the TOS byte or traffic class.
const (
	NotECT uint8 = 0 // the transport does not know ECN
	ECT1   uint8 = 1
	ECT0   uint8 = 2
	CE     uint8 = 3 // congestion experienced

	ecnMask uint8 = 3
)

// TOS returns the TOS byte or traffic class of a datagram: DSCP and ECN. The header must be whole.
func TOS(packet []byte) uint8 {
	if Version(packet) == 4 {
		return IPv4(packet).TOS()
	}
	return IPv6(packet).TrafficClass()
}

// EncapsulateECN returns the ECN bits of the outer header, RFC 6040 section 4.1: in normal mode the inner ones;
// in compatibility mode, for the sake of another end that does not know RFC 6040, always Not-ECT.
func EncapsulateECN(inner uint8, compatibility bool) uint8 {
	if compatibility {
		return NotECT
	}
	return inner & ecnMask
}

// DecapsulateECN returns the ECN bits that the inner packet goes on with, RFC 6040 figure 4, and false where it must
// be dropped: the network has signalled congestion, and the transport cannot know.
//
//	inner \ outer  Not-ECT  ECT(0)   ECT(1)   CE
//	Not-ECT        Not-ECT  Not-ECT  Not-ECT  drop
//	ECT(0)         ECT(0)   ECT(0)   ECT(1)   CE
//	ECT(1)         ECT(1)   ECT(1)   ECT(1)   CE
//	CE             CE       CE       CE       CE
//
// Some of these combinations no standard sender makes; the RFC lets them be logged, and forwards them so.
func DecapsulateECN(outer, inner uint8) (ecn uint8, ok bool) {
	outer, inner = outer&ecnMask, inner&ecnMask
	switch {
	case outer == CE:
		return CE, inner != NotECT
	case outer == ECT1 && inner == ECT0:
		return ECT1, true
	}
	return inner, true
}

// SetECN sets the ECN bits of a datagram whose header is whole, and keeps the IPv4 header checksum as right, or as
// wrong, as it was (RFC 1624).
func SetECN(packet []byte, ecn uint8) {
	if Version(packet) != 4 {
		h := IPv6(packet)
		h.SetTrafficClass(h.TrafficClass()&^ecnMask | ecn&ecnMask)
		return
	}
	h := IPv4(packet)
	was := be16(h)
	h[1] = h[1]&^ecnMask | ecn&ecnMask
	putBE16(h[10:], UpdateChecksum(h.Checksum(), was, be16(h)))
}
