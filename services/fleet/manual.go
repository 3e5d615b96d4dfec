package fleet

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/protocol/transform"
	"sallyport.dev/sallyport/services/world"
)

// manualPair is a manual peer as its host should hold it. There is one SA pair that is current; any other of
// the peer is superseded by it, or by a tombstone:
//
//	pair ▶ new inbound ▶ ack ▶ new outbound ▶ ack ▶ old outbound gone ▶ old inbound gone
//
// When the new inbound half has the SPI of the old one, what is old goes first.
type manualPair struct {
	peer world.ManualPeer
	id   plan.SAID
	// in and out are the halves without their keys; nil when everything is to go.
	in, out *fleetv1.SecurityAssociation
}

// readManual reads a manual pair: its entry in the SPD, nil when it is to go, and its associations.
func readManual(p world.ManualPeer, pair plan.PairID, host *plan.Host) (*manualPair, *fleetv1.Pair, error) {
	m := &manualPair{peer: p, id: plan.SAID(p.Phase.GetId())}
	if p.Spec == nil {
		return m, nil, nil
	}
	entry, err := manualEntry(p, pair, host)
	if err != nil {
		return nil, nil, err
	}
	if m.in, err = manualHalf(p, pair, p.Spec.GetInbound(), true); err != nil {
		return nil, nil, err
	}
	m.out, err = manualHalf(p, pair, p.Spec.GetOutbound(), false)
	return m, entry, err
}

// manualEntry is the SPD entry.
func manualEntry(p world.ManualPeer, pair plan.PairID, host *plan.Host) (*fleetv1.Pair, error) {
	e := &fleetv1.Pair{
		Id: pair[:], RemoteHost: p.Phase.GetPeer(), Policy: "manual", Manual: true, Order: p.Spec.GetOrder(),
		LocalBehindNat: host.BehindNAT,
	}
	var err error
	if e.Local, err = textSelectors(p.Spec.GetLocal()); err != nil {
		return nil, err
	}
	if e.Remote, err = textSelectors(p.Spec.GetRemote()); err != nil {
		return nil, err
	}
	remote, err := outerAddress(p.Spec.GetRemoteAddress())
	if err != nil {
		return nil, err
	}
	e.RemoteAddress, e.RemotePort = remote.Addr().AsSlice(), uint32(cmp.Or(remote.Port(), plan.ESPPort))
	if text := p.Spec.GetLocalAddress(); text != "" {
		local, err := outerAddress(text)
		if err != nil {
			return nil, err
		}
		e.LocalAddress = local.Addr().AsSlice()
	}
	return e, nil
}

// outerAddress reads "address" or "address:port".
func outerAddress(text string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(a, 0), nil
	}
	return netip.ParseAddrPort(text)
}

// manualHalf is one direction, without its key and, since a person decides when it ends, without lifetimes.
func manualHalf(p world.ManualPeer, pair plan.PairID, a *operatorv1.ManualAssociation, inbound bool) (*fleetv1.SecurityAssociation, error) {
	t, err := manualTransform(p.Spec)
	if err != nil {
		return nil, err
	}
	sa := &fleetv1.SecurityAssociation{
		Id: p.Phase.GetId(), Pair: pair[:], Generation: p.Phase.GetGeneration(), Spi: a.GetSpi(), Transform: t, Manual: true,
		Direction: fleetv1.Direction_DIRECTION_OUTBOUND, Protocol: fleetv1.Protocol_PROTOCOL_ESP, Mode: fleetv1.Mode_MODE_TUNNEL,
		Encapsulation: fleetv1.Encapsulation_ENCAPSULATION_UDP, Df: dontFragment(p.Spec.GetDf()),
	}
	if p.Spec.GetProtocol() == "ah" {
		sa.Protocol = fleetv1.Protocol_PROTOCOL_AH
	}
	if p.Spec.GetMode() == "transport" {
		sa.Mode = fleetv1.Mode_MODE_TRANSPORT
	}
	if p.Spec.GetEncapsulation() == "native" {
		sa.Encapsulation = fleetv1.Encapsulation_ENCAPSULATION_NATIVE
	}
	if inbound {
		sa.Direction = fleetv1.Direction_DIRECTION_INBOUND
		sa.ReplayWindow, sa.NoReplayWindow = uint32(max(p.Spec.GetReplayWindow(), 0)), p.Spec.GetReplayWindow() < 0
	}
	return sa, nil
}

func manualTransform(s *operatorv1.ManualPeerSpec) (*typesv1.Transform, error) {
	if s.GetProtocol() == "ah" {
		i, err := transform.IntegrityByName(s.GetProposal())
		return &typesv1.Transform{Integrity: uint32(i.ID), Esn: s.GetEsn()}, err
	}
	t, err := plan.ParseTransform(s.GetProposal(), s.GetInsecure())
	if err != nil {
		return nil, err
	}
	t.ESN = s.GetEsn()
	return world.TransformRecord(t), nil
}

// halves are the resources of an SA pair.
func halves(id plan.SAID) (in, out resource) { return inboundResource(id), outboundResource(id) }

// decideManual compares what the agent should hold of a manual peer with what it holds. ready says that the
// pair is there. empty says that nothing is left of what is to go.
func (l *ledger) decideManual(pair plan.PairID, m *manualPair, ready bool) (out []outgoing, empty bool) {
	in, outb := halves(m.id)
	l.manual[m.id] = pair
	old := l.superseded(m)
	for _, r := range old {
		l.manual[plan.SAID(r.id)] = pair
	}
	if m.in == nil {
		return l.withdraw(pair, old), len(old) == 0
	}
	inHeld, inThere := l.present(in)
	outHeld, outThere := l.present(outb)
	breakFirst := m.peer.Phase.GetBreakFirst() || l.clash[m.id]
	if ready && (!breakFirst || len(old) == 0) {
		switch {
		case !inThere && l.refused[in] == 0:
			out = append(out, outgoing{resource: in, version: versionInstalled, manual: m, template: m.in})
		case inHeld && !outThere && l.refused[outb] == 0:
			out = append(out, outgoing{resource: outb, version: versionInstalled, manual: m, template: m.out})
		}
	}
	// What cannot be installed does not keep alive what it was to replace: its key may be known to others.
	if breakFirst || inHeld && outHeld || l.refused[in] != 0 || l.refused[outb] != 0 {
		out = append(out, l.withdraw(pair, old)...)
	}
	return out, false
}

// superseded lists the halves of other SA pairs of the peer that the agent holds or may soon hold, outbound
// ones first. It forgets what was refused of those that are gone.
func (l *ledger) superseded(m *manualPair) []resource {
	old := l.of(m.peer.UID)
	current := func(r resource) bool { return m.in != nil && r.id == m.id }
	old = slices.DeleteFunc(old, current)
	for r := range l.refused {
		if isOf(r, m.peer.UID) && !current(r) && !slices.Contains(old, r) {
			delete(l.refused, r)
		}
	}
	return old
}

// isOf reports whether a resource is half of an SA pair of a manual peer, or of a peer's child.
func isOf(r resource, uid plan.UID) bool {
	return (r.kind == kindInbound || r.kind == kindOutbound) && bytes.HasPrefix(r.id[:], uid[:])
}

// of lists the halves that the agent holds or may soon hold of a manual peer, or of a peer's child, outbound ones first.
func (l *ledger) of(uid plan.UID) (all []resource) {
	for r := range l.held {
		if isOf(r, uid) {
			all = append(all, r)
		}
	}
	for r := range l.pending {
		if isOf(r, uid) && l.held[r] == 0 {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b resource) int {
		return cmp.Or(-cmp.Compare(a.kind, b.kind), bytes.Compare(a.id[:], b.id[:]))
	})
	return all
}

func (l *ledger) withdraw(pair plan.PairID, old []resource) (out []outgoing) {
	for _, r := range old {
		if _, waiting := l.pending[r]; !waiting && l.refused[r] != versionTombstone {
			out = append(out, outgoing{resource: r, version: versionTombstone, remove: true})
		}
	}
	return out
}

// holdsOf reports whether the agent holds associations of a manual peer or of a peer's child, or may soon.
func (l *ledger) holdsOf(uid plan.UID) bool { return len(l.of(uid)) > 0 }

// manualAcks are what the agent has installed of the current SA pair.
func (l *ledger) manualAcks(id plan.SAID) (acks uint32) {
	in, out := halves(id)
	if l.held[in] != 0 {
		acks |= world.ManualInbound
	}
	if l.held[out] != 0 {
		acks |= world.ManualOutbound
	}
	return acks
}

// acksDue reports whether a phase's record does not say what the agent has.
func acksDue(p *controllerv1.ManualPhase, acks uint32, epoch plan.Epoch) bool {
	same := bytes.Equal(p.GetEpoch(), epoch[:])
	return same && p.GetAcks() != acks || !same && acks != 0
}

// finished reports whether a tombstone has done its work: the agent holds nothing of the peer.
func (l *ledger) finished(pair plan.PairID, m *manualPair) bool {
	held, there := l.present(pairResource(pair))
	return m.in == nil && !held && !there && !l.holdsOf(m.peer.UID)
}

// errUnreadable: what is recorded of a manual peer cannot be read. At the agent it stays as it is.
var errUnreadable = errors.New("fleet: a manual peer cannot be read")

func unreadable(pair plan.PairID, err error) error {
	return fmt.Errorf("%w: pair %v: %w", errUnreadable, pair, err)
}
