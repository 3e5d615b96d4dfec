package esp

// Kind is what a datagram to or from UDP port 4500 carries, RFC 3948 section 2.
type Kind uint8

// Kinds.
const (
	KindMalformed Kind = iota // too short to be any of the others
	KindESP                   // ESP from the first byte
	KindIKE                   // IKE after NonESPMarkerLen zero bytes
	KindKeepalive             // one byte 0xff: drop it silently
)

// NonESPMarkerLen is the length of the four zero bytes before an IKE message.
const NonESPMarkerLen = 4

// Keepalive is the byte of a NAT keepalive, RFC 3948 section 2.3.
const Keepalive = 0xff

// Classify tells the kinds apart by the first bytes. KindESP promises a whole fixed
// ESP header with an SPI other than 0, no more.
func Classify(datagram []byte) Kind {
	switch {
	case len(datagram) == 1 && datagram[0] == Keepalive:
		return KindKeepalive
	case len(datagram) <= NonESPMarkerLen:
		return KindMalformed
	case [NonESPMarkerLen]byte(datagram) == [NonESPMarkerLen]byte{}:
		return KindIKE
	case len(datagram) < fixedLen:
		return KindMalformed
	}
	return KindESP
}
