package datapath

import (
	"encoding/binary"
	"net/netip"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// Path MTU, RFC 4301 section 8.2. What an outbound SA may send whole is the least of three:
//
//	the link or route towards the other end   asked of the kernel, trusted
//	Outer.MTU                                 configured
//	what ICMP says                            anybody can forge it: believed only for a live SPI and a recent
//	                                          sequence number, never below the family's least, for ten minutes
const (
	unlimitedMTU  = 65535
	leastMTU4     = 576              // RFC 791: what every host takes
	leastMTU6     = 1280             // RFC 8200 section 5
	learnedLife   = 10 * time.Minute // RFC 1191 section 6.3, RFC 8201 section 4
	pathErrorRate = 10 * time.Millisecond
	pathErrorMax  = 32
	// recentPackets is how far back the packet that an ICMP message quotes may lie.
	recentPackets = 1 << 16
	// quotedLen is what is kept of a quoted packet: SPI and sequence number, of either protocol.
	quotedLen = 12
	// routesPerTick is how many paths' routes control asks the kernel for in each tick.
	routesPerTick = 32
)

// pathMTU is what ICMP said.
type pathMTU struct {
	mtu   int
	until time.Duration
}

// route is the kernel's way to the other end.
type route struct {
	local netip.Addr
	mtu   int
}

// noRoute is what counts while the kernel is not asked.
var noRoute = route{mtu: unlimitedMTU}

// ask asks the kernel for the way to the path's other end. The caller holds d.mu.
func (d *Datapath) ask(path *hostPath) {
	r := noRoute
	if to := path.ends(); d.config.PathTo != nil && to.remote.IsValid() {
		if local, mtu, err := d.config.PathTo(to.remote.Addr()); err == nil {
			r = route{local: local, mtu: min(max(mtu, leastMTU(to.remote.Addr())), unlimitedMTU)}
		}
	}
	path.route.Store(&r)
}

// leastMTU is what every path of the family carries.
func leastMTU(a netip.Addr) int {
	if a.Is4() {
		return leastMTU4
	}
	return leastMTU6
}

// setMTU computes what the SA may send whole. The caller holds d.mu.
func (sa *outboundSA) setMTU(now time.Duration) {
	mtu := sa.pair.path.Load().route.Load().mtu
	if m := sa.outer.MTU; m != 0 {
		mtu = min(mtu, m)
	}
	if sa.learned.mtu != 0 {
		if now >= sa.learned.until {
			sa.learned = pathMTU{}
		} else {
			mtu = min(mtu, sa.learned.mtu)
		}
	}
	sa.mtu.Store(int32(mtu))
}

// inheritMTU begins with what the pair's previous SA knew. The caller holds d.mu.
func (d *Datapath) inheritMTU(sa *outboundSA) {
	if before, ok := d.tables.Load().outbound.Outbound(sa.pair.id); ok {
		sa.learned = before.learned
	}
	sa.setMTU(d.config.Clock())
}

// remeasure computes the MTU of every SA on a path anew. The caller holds d.mu.
func (d *Datapath) remeasure(t *tables, path *hostPath) {
	now := d.config.Clock()
	for _, p := range t.pairsOf[path] {
		d.eachOutbound(p, func(sa *outboundSA) { sa.setMTU(now) })
	}
}

// eachOutbound calls do for the pair's current outbound SAs.
func (d *Datapath) eachOutbound(p *pair, do func(*outboundSA)) {
	v := d.tables.Load().outbound
	if sa, ok := v.Outbound(p.id); ok {
		do(sa)
	}
	for _, sa := range v.Narrowed(p.id) {
		do(sa)
	}
}

// refreshRoutes asks for some paths' routes at each tick, so that each is asked for now and then.
func (c *control) refreshRoutes() {
	if c.d.config.PathTo == nil {
		return
	}
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	t := c.d.tables.Load()
	for range min(routesPerTick, len(t.paths)) {
		c.nextRoute = (c.nextRoute + 1) % len(t.paths)
		path := t.paths[c.nextRoute]
		c.d.ask(path)
		c.d.remeasure(t, path)
	}
}

// pathError judges what was said about a packet of ours.
func (c *control) pathError(now time.Duration, n notice) {
	spi, seq := binary.BigEndian.Uint32(n.quoted[0:]), binary.BigEndian.Uint32(n.quoted[4:])
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	for _, sa := range c.d.bySPI[spi] {
		path := sa.pair.path.Load()
		if path.remote().Addr() != n.came.remote.Addr() {
			continue
		}
		if !c.d.recent(sa, seq) {
			break
		}
		least := leastMTU(n.came.remote.Addr())
		mtu := max(n.mtu, least)
		if n.mtu < 68 || mtu >= int(sa.mtu.Load()) {
			c.tally.PathErrors++
			return // nothing new, or nonsense
		}
		sa.learned = pathMTU{mtu: mtu, until: now + learnedLife}
		sa.setMTU(now)
		c.tally.PathErrors++
		return
	}
	c.tally.Dropped[InICMPStale]++
}

// shrunk has control ask for the route to an address anew: the kernel has refused a packet as too big.
func (d *Datapath) shrunk(remote netip.Addr) {
	if !d.shrunkLimit.allow(d.config.Clock(), pathErrorRate, pathErrorMax) {
		return
	}
	select {
	case d.notices <- notice{kind: noticeShrunk, came: ends{remote: netip.AddrPortFrom(remote, 0)}}:
	default: // the next packet tells it again
	}
}

// reask asks for the routes of the paths to an address.
func (c *control) reask(remote netip.Addr) {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	t := c.d.tables.Load()
	for _, path := range t.paths {
		if path.remote().Addr() == remote {
			c.d.ask(path)
			c.d.remeasure(t, path)
		}
	}
}

// recent reports whether a quoted sequence number is one that the SA has sent not long ago.
func (d *Datapath) recent(sa *outboundSA, low uint32) bool {
	d.sending.Lock()
	last := sa.seq()
	d.sending.Unlock()
	return uint32(last)-low < recentPackets && (last >= recentPackets || low != 0)
}

// pathError takes what a socket's error queue has, as far as it concerns a path's MTU; the rest is counted: RFC
// 4301 section 6.1.1 lets unauthenticated ICMP tear nothing down.
func (r *receiver) pathError(e datagram.PathError) {
	n := notice{kind: noticePathError, came: ends{remote: e.Remote, local: e.Local}, mtu: e.MTU}
	quoted := e.Quoted
	if r.link == linkAH && len(quoted) >= 12 {
		quoted = quoted[4:] // next header, length, reserved come before the SPI
	}
	switch {
	case len(quoted) < 8 || esp.Classify(quoted) != esp.KindESP:
		r.tally.Dropped[InICMPStale]++
	case e.MTU == 0:
		r.tally.Dropped[InICMPOther]++
	case !r.d.pathErrorLimit.allow(r.now, pathErrorRate, pathErrorMax):
		r.tally.Dropped[InICMPStale]++
	default:
		copy(n.quoted[:], quoted)
		r.post(n)
	}
}

// outerLen is the length of the headers before the ESP or AH header in tunnel mode, or in UDP.
func outerLen(remote netip.Addr, encapsulation Encapsulation) int {
	n := ipwire.IPv6HeaderLen
	if remote.Is4() {
		n = ipwire.IPv4MinHeaderLen
	}
	if encapsulation == UDP {
		n += ipwire.UDPHeaderLen
	}
	return n
}

// maxPayload is the longest payload whose packet, behind outer bytes of headers, is not longer than mtu.
func (sa *outboundSA) maxPayload(mtu, outer int, version int) int {
	if sa.ah != nil {
		return mtu - outer - sa.ah.HeaderLen(version)
	}
	return sa.esp.MaxPayload(mtu - outer)
}

// InnerMTU is the largest inner packet that every outbound SA carries whole on the links that it leaves by, in bytes, at
// least IPv6's least; 65535 without SAs. What ICMP has said about paths does not count: that concerns one SA.
func (d *Datapath) InnerMTU() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	least := unlimitedMTU
	for _, sa := range d.outbound.All {
		path := sa.pair.path.Load()
		remote := path.remote().Addr()
		if !remote.IsValid() {
			continue
		}
		mtu, version, outer := path.route.Load().mtu, 6, outerLen(remote, sa.encapsulation)
		if m := sa.outer.MTU; m != 0 {
			mtu = min(mtu, m)
		}
		if remote.Is4() {
			version = 4
		}
		room := sa.maxPayload(mtu, outer, version)
		if sa.mode == Transport {
			room += outerLen(remote, Native) // the packet's own IP header stays outside
		}
		least = min(least, room)
	}
	return max(least, leastMTU6)
}
