package datapath

import (
	"time"

	"sallyport.dev/sallyport/services/protocol/sad"
)

// SAs lists the installed SAs, in no order.
func (d *Datapath) SAs() []SAStatus {
	now := d.config.Clock()
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]SAStatus, 0, d.inbound.Len()+d.outbound.Len())
	for _, sa := range d.inbound.All {
		sa.mu.Lock()
		s := sa.status(now)
		s.Inbound, s.Sequence, s.Replayed, s.Forged = true, sa.top(), sa.replayed, sa.forged
		sa.mu.Unlock()
		out = append(out, s)
	}
	for _, sa := range d.outbound.All {
		d.sending.Lock()
		s := sa.status(now)
		s.Sequence, s.MTU = sa.seq(), int(sa.mtu.Load())
		d.sending.Unlock()
		out = append(out, s)
	}
	return out
}

// status is called with the lock of the SA's direction held.
func (a *association) status(now time.Duration) SAStatus {
	s := SAStatus{ID: a.id, Pair: a.pair.id, Generation: a.generation, SPI: a.spi, Transform: a.transform, ESN: a.esn,
		Protocol: a.protocol, Mode: a.mode, Encapsulation: a.encapsulation,
		Bytes: a.account.Bytes(), Packets: a.account.Packets(), Age: now - a.installed, Idle: now - a.last,
		Soft: a.account.State(now) >= sad.Soft}
	if deadline := a.account.Lifetime().Hard.Deadline; deadline != 0 {
		s.Left = max(deadline-now, 0)
	}
	return s
}

// Pairs lists the pairs, in no order.
func (d *Datapath) Pairs() []PairStatus {
	now := d.config.Clock()
	d.mu.Lock()
	defer d.mu.Unlock()
	in, out := make(map[PairID]uint32), make(map[PairID]uint32)
	for sa := range d.inbound.All {
		in[sa.Pair] = max(in[sa.Pair], sa.Generation)
	}
	for sa := range d.outbound.All {
		out[sa.Pair] = max(out[sa.Pair], sa.Generation)
	}
	list := make([]PairStatus, 0, len(d.pairs))
	for id, p := range d.pairs {
		path := p.path.Load()
		s := PairStatus{ID: id, RemoteHost: p.spec.RemoteHost, Remote: path.remote(),
			InboundGeneration: in[id], OutboundGeneration: out[id]}
		s.SinceReceived, s.Received = since(now, path.received.Load())
		s.SinceSent, s.Sent = since(now, path.sent.Load())
		list = append(list, s)
	}
	return list
}

func since(now time.Duration, at int64) (time.Duration, bool) {
	if at == 0 {
		return 0, false
	}
	return now - time.Duration(at), true
}
