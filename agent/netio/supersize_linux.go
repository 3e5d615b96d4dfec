package netio

import "github.com/vishvananda/netlink"

const (
	// kernelSuperSize is the longest super-packet of a device by default.
	kernelSuperSize = 65536
	// tcpHeaders are the IPv4 and TCP headers of a segment, with timestamps.
	tcpHeaders = 52
	// espAdds is what ESP adds to a segment in tunnel mode, in a UDP datagram's payload, with a combined mode.
	espAdds = 40
	// superSpare is what the kernel takes off a device's size for headers (MAX_TCP_HEADER), rounded up.
	superSpare = 400
)

// superSize is the longest super-packet that a TUN of this MTU should be given: as long as one UDP message carries, so
// that one read leaves as one. Not so if some of its packets were made for another device, from which policies lead
// them here by a mark, or which has received them joined: the kernel would segment what is longer, which costs more.
func superSize(mtu int, foreign bool) int {
	segments := longestRun / (mtu + espAdds)
	if foreign || segments == 0 {
		return kernelSuperSize
	}
	return min(kernelSuperSize, segments*(mtu-tcpHeaders)+tcpHeaders+superSpare)
}

// applySuperSize says whether there was anything to do. A kernel that does not let itself be told (before 4.16) is
// slower, and right.
func (n *Network) applySuperSize(link netlink.Link, policed bool) bool {
	a := link.Attrs()
	want := superSize(a.MTU, policed || forwards())
	return int(a.GSOMaxSize) != want && n.handle.LinkSetGSOMaxSize(link, want) == nil
}
