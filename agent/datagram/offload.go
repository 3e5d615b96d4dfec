package datagram

// Offload says whether a UDP socket and the kernel hand each other runs, or every datagram on its own. All is right
// without too, and several times slower.
type Offload struct {
	// Send is why runs that are sent are segmented by us: the kernel has no UDP_SEGMENT, or refuses it, which may
	// change. It is nil if the kernel segments them.
	Send error
	// Receive is why the kernel joins nothing to runs that are received; nil if it may.
	Receive error
}
