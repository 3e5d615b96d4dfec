package ike

import (
	"net/netip"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// natDetection returns the two notifies of RFC 7296 section 2.23 for a message that goes along the path. Where a NAT is
// to be feigned the source is not the true one.
func natDetection(h ikewire.Header, p Path, feign bool) []ikewire.Payload {
	source := p.Local
	if feign {
		source = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	return []ikewire.Payload{
		ikewire.NewNATDetection(ikewire.NATDetectionSourceIP, ikewire.NewNATHash(h, source)),
		ikewire.NewNATDetection(ikewire.NATDetectionDestinationIP, ikewire.NewNATHash(h, p.Remote)),
	}
}

// detectNAT reads the notifies of a message that came along the path. supported is false when there are none.
func detectNAT(h ikewire.Header, ps []ikewire.Payload, p Path) (local, remote, supported bool) {
	var sources, destinations int
	mine, theirs := ikewire.NewNATHash(h, p.Local), ikewire.NewNATHash(h, p.Remote)
	local, remote = true, true
	for _, n := range ikewire.All[ikewire.Notify](ps) {
		hash, err := n.NATHash()
		if err != nil {
			continue
		}
		if n.Type == ikewire.NATDetectionSourceIP {
			sources++
			remote = remote && hash != theirs
		} else {
			destinations++
			local = local && hash != mine
		}
	}
	if sources == 0 || destinations == 0 {
		return false, false, false
	}
	return local, remote, true
}
