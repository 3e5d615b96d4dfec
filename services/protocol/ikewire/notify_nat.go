package ikewire

import (
	"crypto/sha1" // RFC 7296 section 2.23 fixes it; it hides an address, it authenticates nothing
	"encoding/binary"
	"net/netip"
)

// NATHash is the data of NAT_DETECTION_SOURCE_IP and NAT_DETECTION_DESTINATION_IP.
type NATHash [sha1.Size]byte

// NewNATHash returns SHA-1(SPIi | SPIr | IP | port), RFC 7296 section 2.23, with the
// SPIs in the order of the header.
func NewNATHash(h Header, addr netip.AddrPort) NATHash {
	b := append(h.InitiatorSPI[:], h.ResponderSPI[:]...)
	b = append(b, addr.Addr().AsSlice()...)
	return sha1.Sum(binary.BigEndian.AppendUint16(b, addr.Port()))
}

// NATHash returns the data of the two NAT_DETECTION notifies.
func (n Notify) NATHash() (NATHash, error) {
	b, err := n.bytes(sha1.Size, sha1.Size, NATDetectionSourceIP, NATDetectionDestinationIP)
	if err != nil {
		return NATHash{}, err
	}
	return NATHash(b), nil
}

// NewNATDetection returns a notify of type t, one of the two NAT_DETECTION types.
func NewNATDetection(t NotifyType, hash NATHash) Notify { return Notify{Type: t, Data: hash[:]} }
