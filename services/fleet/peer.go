package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/protocol/spd"
	"sallyport.dev/sallyport/services/world"
)

// peerPair is an SPD entry of a peer as its host should hold it. Package keying says which child SAs there are, and
// when each half is to come and go:
//
//	entry ▶ inbound ▶ ack ▶ (the peer is answered) ▶ outbound ▶ ack … outbound gone ▶ inbound gone
type peerPair struct {
	entry world.PeerEntry
	gone  bool // everything is to go
}

// readPeer reads a peer's pair: its entry in the SPD, nil when it is to go.
func readPeer(e world.PeerEntry, pair plan.PairID, host *plan.Host) (*peerPair, *fleetv1.Pair, error) {
	p := &peerPair{entry: e, gone: e.Child == nil}
	if p.gone {
		return p, nil, nil
	}
	out := &fleetv1.Pair{
		Id: pair[:], RemoteHost: e.Record.GetPeer(), Policy: "peer/" + e.Child.GetName(), Peer: true, Order: e.Child.GetOrder(),
		LocalBehindNat: host.BehindNAT, Acquire: e.Peer.GetStart() == "trap" || e.Peer.GetLost() == "trap",
	}
	var err error
	if out.Local, err = textSelectors(e.Child.GetLocal()); err != nil {
		return nil, nil, err
	}
	if out.Remote, err = textSelectors(e.Child.GetRemote()); err != nil {
		return nil, nil, err
	}
	p.path(out)
	return p, out, nil
}

// path says where the peer is: where its newest child SA has it, or else where its spec does, if that is one address.
func (p *peerPair) path(out *fleetv1.Pair) {
	if newest := p.newest(); newest != nil {
		out.LocalAddress, out.RemoteAddress, out.RemotePort = newest.GetLocalAddress(), newest.GetRemoteAddress(), newest.GetRemotePort()
		out.LocalBehindNat, out.RemoteBehindNat = newest.GetLocalBehindNat(), newest.GetRemoteBehindNat()
		return
	}
	if all := p.entry.Peer.GetRemoteAddresses(); len(all) == 1 {
		if a, err := netip.ParseAddr(all[0]); err == nil {
			out.RemoteAddress, out.RemotePort = a.AsSlice(), plan.ESPPort
		}
	}
	if a, err := netip.ParseAddr(p.entry.Peer.GetLocalAddress()); err == nil {
		out.LocalAddress = a.AsSlice()
	}
}

// newest is the child SA that was made last; nil when there is none.
func (p *peerPair) newest() (newest *controllerv1.IKEChild) {
	for _, sa := range p.entry.SAs {
		if r := sa.Record; r.GetInboundGeneration() > newest.GetInboundGeneration() {
			newest = r
		}
	}
	return newest
}

// textSelectors reads the selectors of a spec.
func textSelectors(texts []string) (out []*typesv1.TrafficSelector, err error) {
	for _, text := range texts {
		all, err := spd.ParseSelectors(text)
		if err != nil {
			return nil, err
		}
		for _, s := range all {
			out = append(out, &typesv1.TrafficSelector{
				StartAddress: s.First.AsSlice(), EndAddress: s.Last.AsSlice(), IpProtocol: uint32(s.Proto),
				StartPort: uint32(s.Ports.First), EndPort: uint32(s.Ports.Last),
			})
		}
	}
	return out, nil
}

// peerHalf is one half of a child SA without its key.
func peerHalf(sa world.PeerSA, pair plan.PairID, inbound bool, now time.Time) (*fleetv1.SecurityAssociation, error) {
	r := sa.Record
	hard := remaining(r.GetHardTime(), now)
	if hard <= 0 {
		return nil, errors.New("its hard lifetime has passed")
	}
	out := &fleetv1.SecurityAssociation{
		Id: sa.ID[:], Pair: pair[:], Generation: r.GetOutboundGeneration(), Spi: r.GetOutboundSpi(), Transform: r.GetTransform(),
		Direction: fleetv1.Direction_DIRECTION_OUTBOUND, Protocol: fleetv1.Protocol_PROTOCOL_ESP,
		Mode: fleetv1.Mode_MODE_TUNNEL, Encapsulation: fleetv1.Encapsulation_ENCAPSULATION_NATIVE, Df: dontFragment(r.GetDf()),
		Soft: &fleetv1.Lifetime{
			Time: durationpb.New(max(0, remaining(r.GetSoftTime(), now))), Bytes: r.GetSoftBytes(), Packets: r.GetSoftPackets(),
		},
		Hard:  &fleetv1.Lifetime{Time: durationpb.New(hard), Bytes: r.GetHardBytes(), Packets: r.GetHardPackets()},
		Local: r.GetLocal(), Remote: r.GetRemote(),
	}
	if r.GetTransport() {
		out.Mode = fleetv1.Mode_MODE_TRANSPORT
	}
	if r.GetUdp() {
		out.Encapsulation = fleetv1.Encapsulation_ENCAPSULATION_UDP
	}
	if inbound {
		out.Direction, out.Spi, out.Generation = fleetv1.Direction_DIRECTION_INBOUND, r.GetInboundSpi(), r.GetInboundGeneration()
		out.ReplayWindow = r.GetReplayWindow()
	}
	return out, nil
}

// dontFragment reads a spec's word for the DF bit.
func dontFragment(word string) fleetv1.DontFragment {
	switch word {
	case "set":
		return fleetv1.DontFragment_DONT_FRAGMENT_SET
	case "clear":
		return fleetv1.DontFragment_DONT_FRAGMENT_CLEAR
	}
	return fleetv1.DontFragment_DONT_FRAGMENT_COPY
}

// decidePeer compares what the agent should hold under a peer's entry with what it holds. ready says that the pair is
// there. empty says that nothing is left of what is to go.
func (l *ledger) decidePeer(e end, pair plan.PairID, p *peerPair, ready bool) (out []outgoing, empty bool) {
	if p.gone {
		old := l.of(p.entry.UID)
		return l.withdraw(pair, old), len(old) == 0
	}
	l.forgetChildren(p.entry)
	for _, sa := range p.entry.SAs {
		l.peers[sa.ID] = pair
		out = append(out, l.decideChild(e, pair, sa, ready)...)
	}
	return out, false
}

// forgetChildren forgets what was said of child SAs that are gone.
func (l *ledger) forgetChildren(e world.PeerEntry) {
	for id := range l.peers {
		gone := bytes.HasPrefix(id[:], e.UID[:]) && !slices.ContainsFunc(e.SAs, func(sa world.PeerSA) bool { return sa.ID == id })
		if in, outb := halves(id); gone && len(l.heldOf(in, outb)) == 0 {
			delete(l.peers, id)
			delete(l.details, id)
			delete(l.refused, in)
			delete(l.refused, outb)
		}
	}
}

func (l *ledger) decideChild(e end, pair plan.PairID, sa world.PeerSA, ready bool) []outgoing {
	in, outb := halves(sa.ID)
	inHeld, inThere := l.present(in)
	_, outThere := l.present(outb)
	r := sa.Record
	mine := bytes.Equal(r.GetEpoch(), e.epoch[:]) && r.GetIncarnation() == e.incarnation
	switch {
	case r.GetDeleting() || !mine:
		return l.withdraw(pair, l.heldOf(outb, in))
	case r.GetDraining():
		return l.withdraw(pair, l.heldOf(outb))
	case !ready:
	case !inThere && l.refused[in] == 0:
		return []outgoing{{resource: in, version: versionInstalled, child: &sa}}
	case inHeld && !outThere && r.GetOutboundGeneration() != 0 && l.refused[outb] == 0:
		return []outgoing{{resource: outb, version: versionInstalled, child: &sa}}
	}
	return nil
}

// heldOf is which of the resources the agent holds or may soon.
func (l *ledger) heldOf(rs ...resource) (out []resource) {
	for _, r := range rs {
		if _, there := l.present(r); there {
			out = append(out, r)
		}
	}
	return out
}

// childAcks is what the agent has said of a child SA so far, as its record should have it.
func (l *ledger) childAcks(e end, sa world.PeerSA) *controllerv1.IKEChildAcks {
	in, outb := halves(sa.ID)
	a := &controllerv1.IKEChildAcks{Epoch: e.epoch[:], Detail: l.details[sa.ID].text, HighestGeneration: l.details[sa.ID].highest}
	for _, h := range []struct {
		r   resource
		bit uint32
	}{{in, world.PeerInbound}, {outb, world.PeerOutbound}} {
		held, there := l.present(h.r)
		if held {
			a.Acks |= h.bit
		}
		if l.refused[h.r] == versionInstalled {
			a.Refused |= h.bit
		}
		a.Gone = a.Gone || there
		if l.details[sa.ID].soft {
			a.Soft = true
		}
		if l.details[sa.ID].hard {
			a.Hard = true
		}
	}
	a.Gone = !a.Gone && sa.Record.GetDeleting()
	return a
}

// said is what an agent has said of a child SA beside acks.
type said struct {
	text       string // why it refused
	highest    uint32
	soft, hard bool
}

// unreadablePeer is the error for a peer's entry that cannot be read.
func unreadablePeer(pair plan.PairID, err error) error {
	return fmt.Errorf("%w: a peer's entry: %w", unreadable(pair, err), err)
}
