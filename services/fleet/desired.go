package fleet

import (
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
)

// hostConfig is what a host is in the fleet.
func hostConfig(h *plan.Host, fleet *controllerv1.Fleet, mtu int) *fleetv1.HostConfig {
	c := &fleetv1.HostConfig{BehindNat: h.BehindNAT, Mtu: uint32(mtu)}
	for _, a := range h.Addresses {
		c.OverlayAddresses = append(c.OverlayAddresses, a.AsSlice())
	}
	for _, pool := range []string{fleet.GetPoolIpv4(), fleet.GetPoolIpv6()} {
		if pool != "" {
			c.OverlayPrefixes = append(c.OverlayPrefixes, pool)
		}
	}
	for _, p := range h.Subnets {
		c.Subnets = append(c.Subnets, p.String())
	}
	return c
}

// spdEntry is the pair as one of its ends sees it. Without a path the entry is sent all the same: what it
// protects is dropped then, and does not leave in clear.
func spdEntry(w plan.WantedPair, me plan.UID) *fleetv1.Pair {
	local, remote := w.A, w.B
	if w.B.UID == me {
		local, remote = w.B, w.A
	}
	path, _ := plan.PathOf(w.A, w.B)
	to, localNAT, remoteNAT := path.ToB, path.ABehindNAT, path.BBehindNAT
	if local == w.B {
		to, localNAT, remoteNAT = path.ToA, path.BBehindNAT, path.ABehindNAT
	}
	p := &fleetv1.Pair{
		Id: w.ID[:], RemoteHost: remote.Name, Policy: w.Policy.Name,
		Local: selectors(local), Remote: selectors(remote),
		RemoteBehindNat: remoteNAT, LocalBehindNat: localNAT,
	}
	if to.IsValid() {
		p.RemoteAddress, p.RemotePort = to.Addr().Unmap().AsSlice(), uint32(to.Port())
	}
	return p
}

// selectors are the traffic of a host: its overlay addresses, and the subnets behind it.
func selectors(h *plan.Host) []*typesv1.TrafficSelector {
	var out []*typesv1.TrafficSelector
	for _, a := range h.Addresses {
		out = append(out, selector(netip.PrefixFrom(a, a.BitLen())))
	}
	for _, p := range h.Subnets {
		out = append(out, selector(p.Masked()))
	}
	return out
}

func selector(p netip.Prefix) *typesv1.TrafficSelector {
	last := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return &typesv1.TrafficSelector{StartAddress: p.Addr().AsSlice(), EndAddress: last, EndPort: 65535}
}

// half is one association of a generation, as one end of the pair holds it.
type half struct {
	ref     generationRef
	inbound bool
	g       plan.Generation
}

func (h half) resource() resource {
	if h.inbound {
		return inboundResource(h.ref.id)
	}
	return outboundResource(h.ref.id)
}

// association is the resource. The caller clears its key when it has been sent.
func (h half) association(key *controllerv1.GenerationKey, now time.Time) (*fleetv1.SecurityAssociation, error) {
	if string(key.GetId()) != string(h.ref.id[:]) {
		return nil, fmt.Errorf("fleet: the key of generation %d of pair %v is of another SA pair", h.ref.number, h.ref.pair)
	}
	hard := remaining(h.g.Hard, now)
	if hard <= 0 {
		return nil, fmt.Errorf("fleet: generation %d of pair %v has ended", h.ref.number, h.ref.pair)
	}
	sa := &fleetv1.SecurityAssociation{
		Id: h.ref.id[:], Pair: h.ref.pair[:], Generation: h.ref.number, Transform: key.GetTransform(),
		ReplayWindow: key.GetReplayWindow(),
		Soft: &fleetv1.Lifetime{
			Time: durationpb.New(max(0, remaining(h.g.Soft, now))), Bytes: key.GetSoftBytes(), Packets: key.GetSoftPackets(),
		},
		Hard: &fleetv1.Lifetime{Time: durationpb.New(hard), Bytes: key.GetHardBytes(), Packets: key.GetHardPackets()},
	}
	// A opens what B seals.
	aToB := h.ref.ofA != h.inbound
	if aToB {
		sa.Spi, sa.Key = key.GetSpiAToB(), key.GetKeyAToB()
	} else {
		sa.Spi, sa.Key = key.GetSpiBToA(), key.GetKeyBToA()
	}
	sa.Direction = fleetv1.Direction_DIRECTION_OUTBOUND
	if h.inbound {
		sa.Direction = fleetv1.Direction_DIRECTION_INBOUND
	}
	return sa, nil
}

// remaining is the time until a limit in Unix seconds.
func remaining(limit uint32, now time.Time) time.Duration {
	return time.Unix(int64(limit), 0).Sub(now)
}
