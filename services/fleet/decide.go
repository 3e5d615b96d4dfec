package fleet

import (
	"slices"
	"time"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/world"
)

// sent is a message that the agent has not answered yet. There is at most one for a resource: what
// changes meanwhile is looked at again when the answer is there, so the last state wins.
type sent struct {
	version uint64
	remove  bool
	pair    plan.PairID
}

// ledger is what one agent holds and is being told. Its user locks it.
type ledger struct {
	held    map[resource]uint64
	pending map[resource]sent
	// refused are versions that the agent did not take: they are not sent again.
	refused map[resource]uint64
	// known are the generations of this epoch, with the acks that were submitted for each.
	known map[plan.PairID][]noted
	byID  map[plan.SAID]generationRef
	// manual are the SA pairs of manual peers that were decided about, and clash those whose inbound half
	// has met another one of its SPI.
	manual map[plan.SAID]plan.PairID
	clash  map[plan.SAID]bool
	// peers are the child SAs of peers that were decided about, and details what the agent has said of them.
	peers   map[plan.SAID]plan.PairID
	details map[plan.SAID]said
}

type noted struct {
	ref      generationRef
	reported plan.Acks
}

func newLedger() ledger {
	return ledger{
		held: make(map[resource]uint64), pending: make(map[resource]sent), refused: make(map[resource]uint64),
		known: make(map[plan.PairID][]noted), byID: make(map[plan.SAID]generationRef),
		manual: make(map[plan.SAID]plan.PairID), clash: make(map[plan.SAID]bool),
		peers: make(map[plan.SAID]plan.PairID), details: make(map[plan.SAID]said),
	}
}

// pairState is what the world says of a pair, for one end of it.
type pairState struct {
	id plan.PairID
	// entry is the SPD entry, nil when no policy wants the pair; version is its version.
	entry   *fleetv1.Pair
	version uint64
	// generations are this pair's, lowest number first. others is true when there are more that cannot
	// be read.
	generations []plan.Generation
	others      bool
	// manual is set for the pair of a host and a manual peer, which has no generations.
	manual *manualPair
	// peer is set for the pair of a host and a peer's child, which has none either.
	peer *peerPair
}

// readPair takes a pair's state out of the world, for the host that the world knows by that name.
func readPair(w world.State, id plan.PairID, me plan.UID, name string) (pairState, error) {
	ps := pairState{id: id}
	peer, found, err := world.ReadManualPeer(w.Snapshot, name, id.Other(me))
	if err != nil {
		return pairState{}, unreadable(id, err)
	}
	if host, ok := w.World.Host(me); found && ok {
		if ps.manual, ps.entry, err = readManual(peer, id, host); err != nil {
			return pairState{}, unreadable(id, err)
		}
		if ps.entry != nil {
			ps.version, err = contentVersion(ps.entry)
		}
		return ps, err
	}
	entry, found, err := world.ReadPeerEntry(w.Snapshot, name, id.Other(me))
	if err != nil {
		return pairState{}, unreadablePeer(id, err)
	}
	if host, ok := w.World.Host(me); found && ok {
		if ps.peer, ps.entry, err = readPeer(entry, id, host); err != nil {
			return pairState{}, unreadablePeer(id, err)
		}
		if ps.entry != nil {
			ps.version, err = contentVersion(ps.entry)
		}
		return ps, err
	}
	generations, err := world.Generations(w.Snapshot, id)
	ps.generations, ps.others = generations, err != nil
	if wanted, ok := w.World.Wanted(id); ok {
		ps.entry = spdEntry(wanted, me)
		if ps.version, err = contentVersion(ps.entry); err != nil {
			return pairState{}, err
		}
	}
	return ps, nil
}

// outgoing is one message to send: the pair's entry, an association, or a Remove.
type outgoing struct {
	resource resource
	version  uint64
	remove   bool
	entry    *fleetv1.Pair
	half     half
	// manual and template are set for a half of a manual peer: template lacks the key.
	manual   *manualPair
	template *fleetv1.SecurityAssociation
	// child is set for a half of a peer's child SA.
	child *world.PeerSA
}

// submission is an ack to write.
type submission struct {
	ref  generationRef
	acks plan.Acks
}

// end is whose end of a pair is decided about.
type end struct {
	uid         plan.UID
	epoch       plan.Epoch
	incarnation uint64
	now         time.Time
}

// decide compares what the agent should hold with what it holds. Messages are in the order of
// DESIGN.md rule 2: pair, inbound, outbound; deletions the other way round.
func (l *ledger) decide(e end, ps pairState) (out []outgoing, acks []submission) {
	r := pairResource(ps.id)
	_, waiting := l.pending[r]
	held := l.held[r] != 0
	if ps.entry != nil && !waiting && l.held[r] != ps.version && l.refused[r] != ps.version {
		out = append(out, outgoing{resource: r, version: ps.version, entry: ps.entry})
		waiting = true
	}
	if ps.manual != nil || ps.peer != nil {
		ready := ps.entry != nil && (held || waiting && !l.pending[r].remove)
		var more []outgoing
		var empty bool
		if ps.manual != nil {
			more, empty = l.decideManual(ps.id, ps.manual, ready)
		} else {
			more, empty = l.decidePeer(e, ps.id, ps.peer, ready)
		}
		out = append(out, more...)
		if empty && held && !waiting && l.refused[r] != tombstoneOf(l.held[r]) {
			out = append(out, outgoing{resource: r, version: tombstoneOf(l.held[r]), remove: true})
		}
		return out, nil
	}
	mine := l.note(e, ps)
	for i := range mine {
		g, n := mine[i], &l.known[ps.id][i]
		// Nothing new is installed under a pair that is not there, or no longer wanted.
		fresh := ps.entry != nil && (held || waiting && !l.pending[r].remove) && g.Incarnation == e.incarnation &&
			g.RefusedBelow == 0 && remaining(g.Hard, e.now) > 0
		more, done := l.decideGeneration(g, n.ref, fresh)
		out = append(out, more...)
		if done &^= n.reported; done != 0 && !g.Acks.Has(done) {
			n.reported |= done
			acks = append(acks, submission{n.ref, done})
		}
	}
	// Absence is not deletion: a pair goes only when its generations have gone by tombstone.
	if ps.entry == nil && len(ps.generations) == 0 && !ps.others && held && !waiting && l.refused[r] != tombstoneOf(l.held[r]) &&
		!l.holdsOf(ps.id.Other(e.uid)) {
		out = append(out, outgoing{resource: r, version: tombstoneOf(l.held[r]), remove: true})
	}
	return out, acks
}

// tombstoneOf is the version under which a pair is removed: one that no content has just then.
func tombstoneOf(version uint64) uint64 { return ^version }

// note keeps known in step with the store, and returns the generations that are for this epoch.
func (l *ledger) note(e end, ps pairState) []plan.Generation {
	before := l.known[ps.id]
	var mine []plan.Generation
	var after []noted
	for _, g := range ps.generations {
		ofA := ps.id.A() == e.uid
		epoch := g.EpochB
		if ofA {
			epoch = g.EpochA
		}
		if epoch != e.epoch {
			continue
		}
		n := noted{ref: generationRef{pair: ps.id, number: g.Number, id: g.ID, ofA: ofA, epoch: e.epoch}}
		for _, b := range before {
			if b.ref == n.ref {
				n.reported = b.reported
			}
		}
		mine, after = append(mine, g), append(after, n)
	}
	for _, b := range before {
		delete(l.byID, b.ref.id)
		if !slices.ContainsFunc(after, func(n noted) bool { return n.ref.id == b.ref.id }) {
			delete(l.refused, inboundResource(b.ref.id))
			delete(l.refused, outboundResource(b.ref.id))
		}
	}
	for _, n := range after {
		l.byID[n.ref.id] = n.ref
	}
	if l.known[ps.id] = after; len(after) == 0 {
		delete(l.known, ps.id)
	}
	return mine
}

// decideGeneration is decide for one generation. done are the acks that the agent's holdings prove.
func (l *ledger) decideGeneration(g plan.Generation, ref generationRef, fresh bool) (out []outgoing, done plan.Acks) {
	in, outb := half{ref, true, g}, half{ref, false, g}
	inHeld, inThere := l.present(in.resource())
	outHeld, outThere := l.present(outb.resource())
	if inHeld {
		done |= ref.ack(plan.InA, plan.InB)
	}
	if outHeld {
		done |= ref.ack(plan.OutA, plan.OutB)
	}
	install := func(h half) bool {
		if !fresh || l.refused[h.resource()] == versionInstalled {
			return false
		}
		out = append(out, outgoing{resource: h.resource(), version: versionInstalled, half: h})
		return true
	}
	withdraw := func(h half) {
		if _, waiting := l.pending[h.resource()]; !waiting && l.held[h.resource()] != 0 && l.refused[h.resource()] != versionTombstone {
			out = append(out, outgoing{resource: h.resource(), version: versionTombstone, remove: true, half: h})
		}
	}
	switch g.Phase {
	case plan.Inbound, plan.Outbound, plan.Established:
		if !inThere {
			inThere = install(in)
		}
		if g.Phase != plan.Inbound && inThere && !outThere {
			install(outb)
		}
	case plan.Draining:
		withdraw(outb)
		if !outThere {
			done |= ref.ack(plan.OutDeletedA, plan.OutDeletedB)
		}
	case plan.Deleting:
		withdraw(outb)
		withdraw(in)
		if !inThere && !outThere {
			done = ref.ack(plan.DeletedA, plan.DeletedB)
		}
	}
	return out, done
}

// present says whether the agent holds a resource, and whether it does or may soon: an answer is still
// out.
func (l *ledger) present(r resource) (held, there bool) {
	_, waiting := l.pending[r]
	return l.held[r] != 0, l.held[r] != 0 || waiting
}

// ack is the bit of this end.
func (r generationRef) ack(ofA, ofB plan.Acks) plan.Acks {
	if r.ofA {
		return ofA
	}
	return ofB
}

// answer takes an Ack or Nack off the ledger. It returns false when the agent answers what it was not
// told.
func (l *ledger) answer(r resource, version uint64, taken bool) (sent, bool) {
	p, ok := l.pending[r]
	if !ok || p.version != version {
		return sent{}, false
	}
	delete(l.pending, r)
	switch {
	case !taken:
		l.refused[r] = version
	case p.remove:
		delete(l.held, r)
		delete(l.refused, r)
	default:
		l.held[r] = version
		delete(l.refused, r)
	}
	return p, true
}
