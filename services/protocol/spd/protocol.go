package spd

import (
	"fmt"
	"strconv"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// protocolName is IANA's keyword in lower case where people use one, else the number.
func protocolName(proto uint8) string {
	switch proto {
	case 0:
		return "any"
	case ipwire.ProtoICMP:
		return "icmp"
	case 2:
		return "igmp"
	case ipwire.ProtoIPv4:
		return "ipip"
	case ipwire.ProtoTCP:
		return "tcp"
	case ipwire.ProtoUDP:
		return "udp"
	case ipwire.ProtoDCCP:
		return "dccp"
	case ipwire.ProtoIPv6:
		return "ipv6"
	case 47:
		return "gre"
	case ipwire.ProtoESP:
		return "esp"
	case ipwire.ProtoAH:
		return "ah"
	case ipwire.ProtoICMPv6:
		return "icmpv6"
	case 89:
		return "ospf"
	case 103:
		return "pim"
	case 112:
		return "vrrp"
	case ipwire.ProtoSCTP:
		return "sctp"
	case ipwire.ProtoUDPLite:
		return "udplite"
	}
	return strconv.Itoa(int(proto))
}

func parseProtocol(text string) (uint8, error) {
	if n, ok := parseNumber(text, 255); ok {
		return uint8(n), nil
	}
	for proto := range 256 {
		if name := protocolName(uint8(proto)); name == text {
			return uint8(proto), nil
		}
	}
	return 0, fmt.Errorf("%w: %q is no protocol; write its number, or for instance tcp, udp, icmp, icmpv6, any", ErrText, text)
}
