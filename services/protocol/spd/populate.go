package spd

import "sallyport.dev/sallyport/services/protocol/ipwire"

// Populate has the "populate from packet" flags of a PROTECT entry, RFC 4301 section 4.4.1.2:
// which selectors of a new SA are the packet's that asks for it. The others are the entry's.
type Populate struct {
	LocalAddress, RemoteAddress bool
	Protocol                    bool
	// LocalPort and RemotePort are also for ICMP's type and code. A port means nothing without its
	// protocol: they populate that too.
	LocalPort, RemotePort bool
}

// Any reports whether a flag is set: whether the entry wants SAs of its own for its packets.
func (p Populate) Any() bool { return p != Populate{} }

// Populated returns the selectors of the SA that a packet which leaves, and which the entry
// matches, asks for. Where no flag says otherwise they are those of the entry's first selectors
// that match, so that the SA's traffic is always within the entry's.
//
// It returns false when the entry does not match, and when the packet is to be discarded because it
// lacks what a flag wants: it is a fragment without ports, or its protocol is 0, which no selector
// can say. Protocols that have no ports keep the entry's.
func (e *Entry) Populated(f ipwire.Flow) (local, remote Selector, ok bool) {
	local, localOK := firstMatch(e.Local, f.Src, f, f.SrcPort)
	remote, remoteOK := firstMatch(e.Remote, f.Dst, f, f.DstPort)
	p := e.Populate
	wantsPort := p.LocalPort || p.RemotePort
	wantsProtocol := p.Protocol || wantsPort
	if !localOK || !remoteOK || wantsPort && f.Fragment || wantsProtocol && f.Proto == 0 {
		return Selector{}, Selector{}, false
	}
	if p.LocalAddress {
		local.First, local.Last = f.Src, f.Src
	}
	if p.RemoteAddress {
		remote.First, remote.Last = f.Dst, f.Dst
	}
	if wantsProtocol {
		local.Proto, remote.Proto = f.Proto, f.Proto
	}
	if p.LocalPort && !f.Opaque {
		local.Ports = Ports{f.SrcPort, f.SrcPort}
	}
	if p.RemotePort && !f.Opaque {
		remote.Ports = Ports{f.DstPort, f.DstPort}
	}
	return local, remote, true
}
