package keying

import (
	"time"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
)

// childRecord is what of a child is the machine's.
func (a *association) childRecord(c ike.Child, now time.Time) *controllerv1.IKEChild {
	status := a.machine.Status()
	r := &controllerv1.IKEChild{
		Child: c.Name, Number: c.ID, IkeSpi: a.spi(), InboundSpi: c.Inbound, OutboundSpi: c.Outbound,
		Transform: transformRecord(c), Transport: c.Transport, Udp: c.UDP, Local: selectors(c.Local), Remote: selectors(c.Remote),
		LocalAddress: c.Path.Local.Addr().AsSlice(), RemoteAddress: c.Path.Remote.Addr().AsSlice(), RemotePort: espPort(c.Path),
		LocalBehindNat: status.NATLocal, RemoteBehindNat: status.NATRemote, CreateTime: uint32(now.Unix()),
	}
	end := func(d time.Duration, otherwise time.Duration) uint32 {
		if d == 0 {
			d = otherwise
		}
		return uint32(now.Add(d).Unix())
	}
	// The machine keeps its own time: the agent's soft limit comes later, and its hard one when the machine is gone.
	r.HardTime = end(c.Lifetime, longest)
	r.SoftTime = r.GetHardTime()
	return r
}

// longest is the life of a child SA that has no limit in time.
const longest = 8 * 24 * time.Hour

// espPort is the UDP port to which ESP in UDP goes: that of IKE once it has left port 500 (RFC 7296 section 2.23).
func espPort(p ike.Path) uint32 {
	if p.Remote.Port() == ike.Port {
		return ike.PortNAT
	}
	return uint32(p.Remote.Port())
}
