package datapath

import (
	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// decapsulate is the end of tunnel mode: the inner packet's length and its ECN bits, RFC 6040 section 4.2.
func (r *receiver) decapsulate(p *datagram.Packet, o *opened) ([]byte, Reason) {
	version := 0
	switch o.next {
	case esp.NextHeaderIPv4:
		version = 4
	case esp.NextHeaderIPv6:
		version = 6
	default:
		return nil, InNextHeader
	}
	inner := p.Data[o.start:o.end]
	n, err := ipwire.DatagramLen(inner)
	if err != nil || ipwire.Version(inner) != version {
		return nil, InInnerLength
	}
	inner = inner[:n]
	was := ipwire.TOS(inner)
	ecn, ok := ipwire.DecapsulateECN(p.TOS, was)
	if !ok {
		return nil, InECN
	}
	if ecn != was&3 {
		ipwire.SetECN(inner, ecn)
	}
	return inner, reasons
}

// rebuild is the end of transport mode: the packet that the other end's stack had made. It is put together in
// front of the payload.
func (r *receiver) rebuild(p *datagram.Packet, at, next int, o *opened) []byte {
	head := o.start - at
	copy(p.Data[head:o.start], p.Data[:at])
	p.Data[head+next] = o.next
	packet := p.Data[head:o.end]
	ipwire.SetLength(packet)
	return packet
}

// rebuiltLen is room for a batch of most, and for the longest packet always.
const rebuiltLen = 4 * 65536

// rebuildUDP makes an IP header of what is known of the outer one. NAT may have changed the addresses that the
// inner checksum covers: it is adjusted if the original ones are known, else made anew (RFC 3948 section 3.1.2).
func (r *receiver) rebuildUDP(sa *inboundSA, p *datagram.Packet, o *opened) ([]byte, Reason) {
	src, dst := p.Remote.Addr(), p.Local
	if !dst.IsValid() || src.Is4() != dst.Is4() {
		return nil, InMalformed
	}
	hops := p.TTL
	if hops == 0 {
		hops = defaultHopLimit
	}
	room := ipwire.IPv6HeaderLen
	if src.Is4() {
		room = ipwire.IPv4MinHeaderLen
	}
	whole := r.rebuildIn(room, p.Data[o.start:o.end])
	var err error
	if src.Is4() {
		_, err = ipwire.PutIPv4(whole, ipwire.IPv4Header{TOS: p.TOS, TTL: hops, DontFragment: true, Protocol: o.next, Src: src, Dst: dst})
	} else {
		_, err = ipwire.PutIPv6(whole, ipwire.IPv6Header{TrafficClass: p.TOS, HopLimit: hops, NextHeader: o.next, Src: src, Dst: dst})
	}
	if err != nil {
		return nil, InInnerLength
	}
	if nat := sa.nat; nat.Source.IsValid() && nat.Destination.IsValid() {
		ipwire.AdjustChecksum(whole, nat.Source, nat.Destination)
	} else {
		ipwire.RepairChecksum(whole)
	}
	return whole, reasons
}

// rebuildIn copies a payload behind room for a header: before it, in a run, lies what may not be written yet.
func (r *receiver) rebuildIn(room int, payload []byte) []byte {
	if n := room + len(payload); cap(r.rebuilt)-len(r.rebuilt) < n {
		r.flush()
	}
	start := len(r.rebuilt)
	r.rebuilt = append(r.rebuilt[:start+room], payload...)
	return r.rebuilt[start:]
}
