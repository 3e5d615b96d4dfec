package fleet

import (
	"context"
	"fmt"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/plan"
)

// maxInventory bounds what an agent may say that it holds.
const maxInventory = 1 << 20

// maxPart bounds one message of it.
const maxPart = 4096

// maxDetail bounds what is passed on of an agent's words.
const maxDetail = 512

// receive takes in what the agent says. It waits for nothing but the agent.
func (st *stream) receive(ctx context.Context, rpc fleetv1.SyncService_SyncServer) error {
	for {
		m, err := rpc.Recv()
		if err != nil {
			return err
		}
		switch r := m.GetMessage().(type) {
		case *fleetv1.SyncRequest_Inventory:
			err = st.inventory(r.Inventory)
		case *fleetv1.SyncRequest_Ack:
			st.acked(r.Ack)
		case *fleetv1.SyncRequest_Nack:
			st.refused(ctx, r.Nack)
		case *fleetv1.SyncRequest_Report:
			err = st.reportIn(r.Report)
		case *fleetv1.SyncRequest_Expire:
			st.expired(ctx, r.Expire)
		case *fleetv1.SyncRequest_Acquire:
			st.acquired(r.Acquire)
		default:
			err = fault.Newf(fault.InvalidArgument, "%T is not a message for an open stream", m.GetMessage())
		}
		if err != nil {
			return err
		}
		st.nudge()
	}
}

func (st *stream) inventory(part *fleetv1.Inventory) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.listed += len(part.GetEntries())
	switch {
	case st.complete:
		return fault.New(fault.InvalidArgument, "the inventory goes on after its last part")
	case len(part.GetEntries()) > maxPart:
		return fault.Newf(fault.InvalidArgument, "a part of the inventory has %d entries: at most %d", len(part.GetEntries()), maxPart)
	case st.listed > maxInventory:
		return fault.Newf(fault.InvalidArgument, "the inventory has more than %d entries", maxInventory)
	}
	for _, e := range part.GetEntries() {
		r, ok := parseResource(e.GetName())
		if !ok || e.GetVersion() == 0 {
			return fault.New(fault.InvalidArgument, "the inventory is wrong").WithField("inventory.entries", "names a resource that cannot be")
		}
		st.ledger.held[r] = e.GetVersion()
	}
	if part.GetLast() {
		st.complete = true
		st.markAll()
	}
	return nil
}

func (st *stream) acked(a *fleetv1.Ack) {
	r, ok := parseResource(a.GetName())
	if !ok {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	p, ok := st.ledger.answer(r, a.GetVersion(), true)
	if !ok {
		return
	}
	st.service.meter.acks.Add(1)
	if len(st.ledger.pending)+len(st.queue) == 0 {
		st.settled = st.revision
	}
	st.look(r, p)
}

// look marks what an answer is about; the caller holds mu.
func (st *stream) look(r resource, p sent) {
	if r.kind == kindConfig {
		st.dirtyConfig = true
		return
	}
	st.mark(p.pair)
}

// refused writes a refusal down: the planner makes another generation. Nothing is sent again as it was.
func (st *stream) refused(ctx context.Context, n *fleetv1.Nack) {
	r, ok := parseResource(n.GetName())
	if !ok {
		return
	}
	st.mu.Lock()
	p, ok := st.ledger.answer(r, n.GetVersion(), false)
	if !ok {
		st.mu.Unlock()
		return
	}
	st.service.meter.nack(n.GetReason())
	ref, known := st.ledger.byID[plan.SAID(r.id)]
	if known && !p.remove && (r.kind == kindInbound || r.kind == kindOutbound) {
		st.submit(ref, phaseEdit{refusedBelow: refusedBelow(ref.number, n.GetHighestGeneration())})
	}
	if pair, manual := st.ledger.manual[plan.SAID(r.id)]; manual && !p.remove && (r.kind == kindInbound || r.kind == kindOutbound) {
		st.refusedManual(r, n, pair)
	}
	if !p.remove {
		st.saidOf(plan.SAID(r.id), func(d *said) {
			d.text, d.highest = n.GetDetail()[:min(len(n.GetDetail()), maxDetail)], n.GetHighestGeneration()
		})
	}
	st.look(r, p)
	tell := st.service.now().Sub(st.nacked) >= tellPause
	if tell {
		st.nacked = st.service.now()
	}
	st.mu.Unlock()
	reason := nackName(n.GetReason())
	detail := n.GetDetail()[:min(len(n.GetDetail()), maxDetail)]
	st.service.log.Warn("an agent refused a resource", "host", st.host, "resource", r, "reason", reason, "detail", detail)
	if tell && n.GetReason() != fleetv1.NackReason_NACK_REASON_BURNT {
		st.service.event(ctx, st.host, "ResourceRefused", true, fmt.Sprintf("the agent refused %v (%s): %q", r, reason, detail))
	}
}

// submit queues an edit of a generation's record; the caller holds mu.
func (st *stream) submit(ref generationRef, what phaseEdit) {
	st.service.writer.submit(ref.change(what, st.current(), st.service.now))
}

// expired writes down that an association is at a limit.
func (st *stream) expired(ctx context.Context, e *fleetv1.Expire) {
	r, ok := parseResource(e.GetName())
	if !ok || (r.kind != kindInbound && r.kind != kindOutbound) {
		return
	}
	st.expiredManual(ctx, r, e.GetReason())
	st.mu.Lock()
	defer st.mu.Unlock()
	st.expiredPeer(r, e.GetReason())
	ref, known := st.ledger.byID[plan.SAID(r.id)]
	if _, there := st.ledger.present(r); !known || !there {
		return
	}
	st.service.meter.expires.Add(1)
	what := phaseEdit{soft: true}
	if e.GetReason() == fleetv1.ExpireReason_EXPIRE_REASON_HARD {
		delete(st.ledger.held, r)
		what.refusedBelow = refusedBelow(ref.number, ref.number)
		st.mark(ref.pair)
	}
	st.submit(ref, what)
}

// reportIn takes a report in. It is also the moment to look whether the stream may go on, and to try
// again what failed.
func (st *stream) reportIn(r *fleetv1.HostReport) error {
	if err := checkReport(r); err != nil {
		return err
	}
	if !st.service.config.Identity.Valid(st.caller) {
		return errKey
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.report, st.fresh = r, true
	for refused, version := range st.ledger.refused {
		_, manual := st.ledger.manual[plan.SAID(refused.id)]
		manual = manual && (refused.kind == kindInbound || refused.kind == kindOutbound) && version != versionSpent
		if refused.kind == kindPair || refused.kind == kindConfig || version == versionTombstone || manual {
			delete(st.ledger.refused, refused)
			st.retry(refused)
		}
	}
	return nil
}

// retry looks again at a resource that an agent refused; the caller holds mu.
func (st *stream) retry(r resource) {
	switch r.kind {
	case kindConfig:
		st.dirtyConfig = true
	case kindPair:
		st.mark(plan.PairID(r.id))
	default:
		if ref, ok := st.ledger.byID[plan.SAID(r.id)]; ok {
			st.mark(ref.pair)
		}
		if pair, ok := st.ledger.manual[plan.SAID(r.id)]; ok {
			st.mark(pair)
		}
	}
}
