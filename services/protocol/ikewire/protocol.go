package ikewire

import "fmt"

// ProtocolID is IANA's "IKEv2 Security Protocol Identifiers", RFC 7296 section 3.3.1.
type ProtocolID uint8

// Security protocols.
const (
	ProtocolNone               ProtocolID = 0 // in a Notify that concerns no SA
	ProtocolIKE                ProtocolID = 1 // RFC 7296
	ProtocolAH                 ProtocolID = 2 // RFC 7296
	ProtocolESP                ProtocolID = 3 // RFC 7296
	ProtocolFCESPHeader        ProtocolID = 4 // RFC 4595
	ProtocolFCCTAuthentication ProtocolID = 5 // RFC 4595
	ProtocolGIKEUpdate         ProtocolID = 6 // RFC 9838
)

// String returns IANA's name.
func (p ProtocolID) String() string {
	switch p {
	case ProtocolNone:
		return "none"
	case ProtocolIKE:
		return "IKE"
	case ProtocolAH:
		return "AH"
	case ProtocolESP:
		return "ESP"
	case ProtocolFCESPHeader:
		return "FC_ESP_HEADER"
	case ProtocolFCCTAuthentication:
		return "FC_CT_AUTHENTICATION"
	case ProtocolGIKEUpdate:
		return "GIKE_UPDATE"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

const (
	ikeSPILen = 8
	espSPILen = 4 // of AH too
)
