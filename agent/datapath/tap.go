package datapath

import (
	"net/netip"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// Tapped is one packet as a capture sees it.
type Tapped struct {
	// Inner: the packet at the TUN, an IP datagram; else the outer packet at a socket.
	Inner bool
	// Inbound: it came from the other end.
	Inbound bool
	// Data is the packet. It is valid during the call only. Outer packets in UDP are the UDP payload, native
	// ones the whole IP datagram.
	Data []byte
	// Protocol is that of an outer packet: 17 (UDP), 50 or 51.
	Protocol uint8
	// Remote and Local are the ends of an outer packet. Local is invalid where the kernel chooses it.
	Remote netip.AddrPort
	Local  netip.Addr
}

// SetTap makes every packet, inner and outer, pass by f; nil ends that. f is called by several goroutines, must
// not block, and must not keep Data. It costs a load per packet while there is none.
func (d *Datapath) SetTap(f func(Tapped)) {
	if f == nil {
		d.tap.Store(nil)
		return
	}
	d.tap.Store(&f)
}

// tapOuter shows a sealed packet to the capture.
func (s *sealing) tapOuter(sa *outboundSA, packet []byte, to *ends) {
	if tap := s.d.tap.Load(); tap != nil {
		proto := uint8(sa.protocol)
		if sa.encapsulation == UDP {
			proto = protoUDP
		}
		(*tap)(Tapped{Data: packet, Protocol: proto, Remote: to.remote, Local: to.local})
	}
}

// KeyedSA is an SA with its key, for who has to decrypt a capture.
type KeyedSA struct {
	SA      SA
	Inbound bool
	// Remote is where the SA's packets go to or come from; invalid while unknown.
	Remote, Local netip.Addr
}

// Keys lists the installed SAs with their keys; none unless Config.KeepKeys is set. The caller clears them.
func (d *Datapath) Keys() []KeyedSA {
	if !d.config.KeepKeys {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []KeyedSA
	add := func(a *association, inbound bool) {
		to, r := a.pair.path.Load().ends(), a.pair.path.Load().route.Load()
		if !to.local.IsValid() {
			to.local = r.local
		}
		out = append(out, KeyedSA{Inbound: inbound, Remote: to.remote.Addr(), Local: to.local, SA: SA{
			ID: a.id, Pair: a.pair.id, Generation: a.generation, SPI: a.spi, Transform: a.transform, Protocol: a.protocol,
			Mode: a.mode, Encapsulation: a.encapsulation, ESN: a.esn, Key: append(transform.Keymat(nil), a.keymat...)}})
	}
	for _, sa := range d.inbound.All {
		add(&sa.association, true)
	}
	for _, sa := range d.outbound.All {
		add(&sa.association, false)
	}
	return out
}

const protoUDP = 17
