package ikewire

import "fmt"

// ExchangeType is IANA's "IKEv2 Exchange Types", RFC 7296 section 3.1.
type ExchangeType uint8

// Exchange types.
const (
	IKESAInit        ExchangeType = 34 // RFC 7296
	IKEAuth          ExchangeType = 35 // RFC 7296
	CreateChildSA    ExchangeType = 36 // RFC 7296
	Informational    ExchangeType = 37 // RFC 7296
	IKESessionResume ExchangeType = 38 // RFC 5723
	GSAAuth          ExchangeType = 39 // RFC 9838
	GSARegistration  ExchangeType = 40 // RFC 9838
	GSARekey         ExchangeType = 41 // RFC 9838
	GSAInbandRekey   ExchangeType = 42 // RFC 9838
	IKEIntermediate  ExchangeType = 43 // RFC 9242
	IKEFollowupKE    ExchangeType = 44 // RFC 9370
)

// String returns IANA's name.
func (e ExchangeType) String() string {
	switch e {
	case IKESAInit:
		return "IKE_SA_INIT"
	case IKEAuth:
		return "IKE_AUTH"
	case CreateChildSA:
		return "CREATE_CHILD_SA"
	case Informational:
		return "INFORMATIONAL"
	case IKESessionResume:
		return "IKE_SESSION_RESUME"
	case GSAAuth:
		return "GSA_AUTH"
	case GSARegistration:
		return "GSA_REGISTRATION"
	case GSARekey:
		return "GSA_REKEY"
	case GSAInbandRekey:
		return "GSA_INBAND_REKEY"
	case IKEIntermediate:
		return "IKE_INTERMEDIATE"
	case IKEFollowupKE:
		return "IKE_FOLLOWUP_KE"
	}
	return fmt.Sprintf("exchange type %d", uint8(e))
}
