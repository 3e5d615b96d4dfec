package offload

import "sallyport.dev/sallyport/services/protocol/ipwire"

// Features is what the Coalescer may make.
type Features struct {
	// TCP and UDP say what super-packets the TUN takes: TUN_F_TSO4 with TUN_F_TSO6, TUN_F_USO4 with TUN_F_USO6.
	TCP, UDP bool
	// AtomicID joins IPv4 packets with DF that all have one and the same ID too, as many senders make them
	// (Linux's unconnected UDP sockets: 0). If such a super-packet is forwarded, its segments have IDs that
	// count up; nobody may read a meaning into them (RFC 6864 section 4.1). Without it, segments are always
	// byte for byte what was joined.
	AtomicID bool
}

// flowCount is how many flows are joined at a time.
const flowCount = 16

// Coalescer joins packets of one flow to super-packets, by the rules of Linux's GRO: those, and only those,
// that segmentation turns into the same packets again. It verifies checksums before: a packet whose checksum
// is wrong passes alone and as it is, so that whoever receives it can tell. Packets of one flow keep their order.
type Coalescer struct {
	features Features
	emit     func(pieces [][]byte, packets int)
	flows    [flowCount]flow
	last     int // the flow that was found last
	victim   int // the flow that must go if another one needs its place
	segment  segment

	plain  [HeaderLen]byte // the virtio header of a packet that passes alone
	pieces [2][]byte
}

// NewCoalescer returns a Coalescer that calls emit for whatever is to be written to the TUN in one piece. pieces are
// a virtio header of HeaderLen bytes, a packet or a super-packet's beginning, and the payloads that follow; they are
// emit's during the call, and at most 129. packets says how many packets they carry.
func NewCoalescer(f Features, emit func(pieces [][]byte, packets int)) *Coalescer {
	return &Coalescer{features: f, emit: emit}
}

// Add takes an IP packet. Until Flush its memory is the Coalescer's, which may write to the packet's headers. The
// packet is emitted before Flush returns, perhaps in Add.
func (c *Coalescer) Add(packet []byte) {
	s := &c.segment
	s.parse(packet)
	f := c.find(s)
	switch {
	case f != nil && s.joinable && f.takes(s, c.features.AtomicID):
		if f.add(s) {
			c.close(f)
		}
		return
	case f != nil:
		c.close(f)
	case s.key.proto == 0:
		c.closeBetween(&s.key)
	}
	if !s.joinable || s.psh() || !c.wants(s) {
		c.pieces = [2][]byte{c.plain[:], packet}
		clear(c.plain[:])
		c.emit(c.pieces[:], 1)
		return
	}
	c.free().start(s)
}

// Flush emits everything that is open.
func (c *Coalescer) Flush() {
	for i := range c.flows {
		if c.flows[i].packets > 0 {
			c.close(&c.flows[i])
		}
	}
}

// wants says whether the TUN takes super-packets of s's protocol.
func (c *Coalescer) wants(s *segment) bool {
	if s.key.proto == ipwire.ProtoTCP {
		return c.features.TCP
	}
	return c.features.UDP
}

// find returns the open aggregate of s's flow, nil if there is none.
func (c *Coalescer) find(s *segment) *flow {
	if f := &c.flows[c.last]; f.packets > 0 && f.key.same(&s.key) {
		return f
	}
	for i := range c.flows {
		if f := &c.flows[i]; f.packets > 0 && f.key.same(&s.key) {
			c.last = i
			return f
		}
	}
	return nil
}

// free returns a flow that is not in use, if need be the one whose turn it is to make room.
func (c *Coalescer) free() *flow {
	for i := range c.flows {
		if c.flows[i].packets == 0 {
			c.last = i
			return &c.flows[i]
		}
	}
	c.last = c.victim
	c.victim = (c.victim + 1) % flowCount
	c.close(&c.flows[c.last])
	return &c.flows[c.last]
}

// close emits a flow's aggregate.
func (c *Coalescer) close(f *flow) {
	f.close()
	packets := f.packets
	f.packets = 0
	c.emit(f.pieces, packets)
}

// closeBetween emits what is open between two addresses: a packet whose ports cannot be seen may belong to any of it.
// What is not an IP packet belongs to nothing.
func (c *Coalescer) closeBetween(k *key) {
	for i := range c.flows {
		if f := &c.flows[i]; f.packets > 0 && f.key.between(k) {
			c.close(f)
		}
	}
}
