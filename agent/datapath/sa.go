package datapath

import (
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/sallyport/services/protocol/ah"
	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/sad"
	"sallyport.dev/sallyport/services/protocol/spd"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// association is what both directions have. What is not said to be guarded never changes.
type association struct {
	id            SAID
	pair          *pair
	generation    uint32
	spi           uint32
	transform     Transform
	protocol      Protocol
	mode          Mode
	encapsulation Encapsulation
	esn           bool
	installed     time.Duration
	narrowed      *spd.Entry       // the selectors of an SA that has its own; nil: the pair's
	keymat        transform.Keymat // kept for captures only: see Config.KeepKeys

	// account, last and told are guarded by the direction's lock.
	account sad.Account
	last    time.Duration // time of the last packet, at first of the installation
	told    sad.State     // what control has been told of account's state
}

// spend takes a packet into the account. The caller holds the direction's lock. It reports whether the
// packet may pass, and whether control must look.
func (a *association) spend(now time.Duration, n int) (ok, news bool) {
	state := a.account.Count(now, n)
	a.last = now
	return state != sad.Hard, state > a.told
}

// outboundSA is guarded by Datapath.sending. It has one of the two sealers.
type outboundSA struct {
	association
	esp   *esp.Sealer
	ah    *ah.Sealer
	outer Outer
	// near is the sequence number from which on control is told that the ceiling is near; 0: there is none.
	near      uint64
	wantsRoom bool // control has to tell that near was reached

	learned pathMTU      // guarded by Datapath.mu
	mtu     atomic.Int32 // what the path takes whole, outer header included; see pmtu.go
}

func (sa *outboundSA) seq() uint64 {
	if sa.ah != nil {
		return sa.ah.Seq()
	}
	return sa.esp.Seq()
}

func (sa *outboundSA) ceiling() uint64 {
	if sa.ah != nil {
		return sa.ah.Ceiling()
	}
	return sa.esp.Ceiling()
}

func (sa *outboundSA) raiseCeiling(n uint64) {
	if sa.ah != nil {
		sa.ah.RaiseCeiling(n)
	} else {
		sa.esp.RaiseCeiling(n)
	}
	sa.setNear()
}

// setNear is half of the room that is left.
func (sa *outboundSA) setNear() {
	sa.near = 0
	if c := sa.ceiling(); c != 0 {
		sa.near = c - (c-min(c, sa.seq()))/2
	}
}

// inboundSA has a lock of its own: packets for it can come by several sockets. It has one of the two openers.
type inboundSA struct {
	association
	nat OriginalAddresses

	mu  sync.Mutex
	esp *esp.Opener
	ah  *ah.Opener
	// replayed and forged are packets dropped for that; guarded by mu.
	replayed, forged uint64
}

func (sa *inboundSA) top() uint64 {
	if sa.ah != nil {
		return sa.ah.Top()
	}
	return sa.esp.Top()
}

// choose finds the pair's outbound SA for a flow: one with selectors of its own that match, else the newest
// of those that have none.
func choose(v *sad.View[*outboundSA], id PairID, f *ipwire.Flow) (*outboundSA, bool) {
	for _, sa := range v.Narrowed(id) {
		if sa.narrowed.MatchOutbound(*f) {
			return sa, true
		}
	}
	return v.Outbound(id)
}

// admits reports whether the SA's own selectors, if it has some, take the inner flow of a packet.
func (sa *inboundSA) admits(f *ipwire.Flow) bool {
	return sa.narrowed == nil || sa.narrowed.MatchInbound(*f)
}
