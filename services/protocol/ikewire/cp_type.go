package ikewire

import "fmt"

// ConfigType is IANA's "IKEv2 Configuration Payload CFG Types", RFC 7296 section 3.15.
type ConfigType uint8

// Configuration types.
const (
	ConfigRequest ConfigType = 1
	ConfigReply   ConfigType = 2
	ConfigSet     ConfigType = 3
	ConfigAck     ConfigType = 4
)

// String returns IANA's name.
func (t ConfigType) String() string {
	switch t {
	case ConfigRequest:
		return "CFG_REQUEST"
	case ConfigReply:
		return "CFG_REPLY"
	case ConfigSet:
		return "CFG_SET"
	case ConfigAck:
		return "CFG_ACK"
	}
	return fmt.Sprintf("CFG type %d", uint8(t))
}

// ConfigAttributeType is IANA's "IKEv2 Configuration Payload Attribute Types", RFC 7296
// section 3.15.1; 15 bits.
type ConfigAttributeType uint16

// Configuration attributes, with the lengths of their values in bytes.
const (
	InternalIP4Address            ConfigAttributeType = 1  // RFC 7296: 0 or 4 bytes
	InternalIP4Netmask            ConfigAttributeType = 2  // RFC 7296: 0 or 4
	InternalIP4DNS                ConfigAttributeType = 3  // RFC 7296: 0 or 4
	InternalIP4NBNS               ConfigAttributeType = 4  // RFC 7296: 0 or 4
	InternalIP4DHCP               ConfigAttributeType = 6  // RFC 7296: 0 or 4
	ApplicationVersion            ConfigAttributeType = 7  // RFC 7296: text
	InternalIP6Address            ConfigAttributeType = 8  // RFC 7296: 0 or 17, address and prefix length
	InternalIP6DNS                ConfigAttributeType = 10 // RFC 7296: 0 or 16
	InternalIP6DHCP               ConfigAttributeType = 12 // RFC 7296: 0 or 16
	InternalIP4Subnet             ConfigAttributeType = 13 // RFC 7296: 0 or 8, address and mask
	SupportedAttributes           ConfigAttributeType = 14 // RFC 7296: 2 for each
	InternalIP6Subnet             ConfigAttributeType = 15 // RFC 7296: 17, address and prefix length
	MIP6HomePrefix                ConfigAttributeType = 16 // RFC 5026: 0 or 21
	InternalIP6Link               ConfigAttributeType = 17 // RFC 5739: 8 or more
	InternalIP6Prefix             ConfigAttributeType = 18 // RFC 5739: 17, prefix and length
	HomeAgentAddress              ConfigAttributeType = 19 // 3GPP TS 24.302: 16 or 20
	PCSCFIP4Address               ConfigAttributeType = 20 // RFC 7651: 0 or 4
	PCSCFIP6Address               ConfigAttributeType = 21 // RFC 7651: 0 or 16
	FTTKAT                        ConfigAttributeType = 22 // 3GPP TS 24.302: 2
	ExternalSourceIP4NATInfo      ConfigAttributeType = 23 // 3GPP TS 29.139: 0 or 6
	TimeoutPeriodForLivenessCheck ConfigAttributeType = 24 // 3GPP TS 24.302: 0 or 4
	InternalDNSDomain             ConfigAttributeType = 25 // RFC 8598: 0 or a name
	InternalDNSSECTA              ConfigAttributeType = 26 // RFC 8598: 0 or a DS record
	EncDNSIP4                     ConfigAttributeType = 27 // RFC 9464
	EncDNSIP6                     ConfigAttributeType = 28 // RFC 9464
	EncDNSDigestInfo              ConfigAttributeType = 29 // RFC 9464
)

// String returns IANA's name.
func (t ConfigAttributeType) String() string {
	switch t {
	case InternalIP4Address:
		return "INTERNAL_IP4_ADDRESS"
	case InternalIP4Netmask:
		return "INTERNAL_IP4_NETMASK"
	case InternalIP4DNS:
		return "INTERNAL_IP4_DNS"
	case InternalIP4NBNS:
		return "INTERNAL_IP4_NBNS"
	case InternalIP4DHCP:
		return "INTERNAL_IP4_DHCP"
	case ApplicationVersion:
		return "APPLICATION_VERSION"
	case InternalIP6Address:
		return "INTERNAL_IP6_ADDRESS"
	case InternalIP6DNS:
		return "INTERNAL_IP6_DNS"
	case InternalIP6DHCP:
		return "INTERNAL_IP6_DHCP"
	case InternalIP4Subnet:
		return "INTERNAL_IP4_SUBNET"
	case SupportedAttributes:
		return "SUPPORTED_ATTRIBUTES"
	case InternalIP6Subnet:
		return "INTERNAL_IP6_SUBNET"
	case MIP6HomePrefix:
		return "MIP6_HOME_PREFIX"
	case InternalIP6Link:
		return "INTERNAL_IP6_LINK"
	case InternalIP6Prefix:
		return "INTERNAL_IP6_PREFIX"
	case HomeAgentAddress:
		return "HOME_AGENT_ADDRESS"
	case PCSCFIP4Address:
		return "P_CSCF_IP4_ADDRESS"
	case PCSCFIP6Address:
		return "P_CSCF_IP6_ADDRESS"
	case FTTKAT:
		return "FTT_KAT"
	case ExternalSourceIP4NATInfo:
		return "EXTERNAL_SOURCE_IP4_NAT_INFO"
	case TimeoutPeriodForLivenessCheck:
		return "TIMEOUT_PERIOD_FOR_LIVENESS_CHECK"
	case InternalDNSDomain:
		return "INTERNAL_DNS_DOMAIN"
	case InternalDNSSECTA:
		return "INTERNAL_DNSSEC_TA"
	case EncDNSIP4:
		return "ENCDNS_IP4"
	case EncDNSIP6:
		return "ENCDNS_IP6"
	case EncDNSDigestInfo:
		return "ENCDNS_DIGEST_INFO"
	}
	return fmt.Sprintf("configuration attribute %d", uint16(t))
}
