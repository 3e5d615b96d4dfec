package identity

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Wrong join tokens are let through at this rate from one IPv4 address or IPv6 /64. A secret of 128
// bits needs no such limit; the controller's CPU, etcd and log do.
const (
	attemptEvery = 6 * time.Second
	attemptBurst = 10
	maxAddresses = 4096
)

// attempts limits wrong tokens by address. It remembers a bounded number of addresses and forgets
// the one that was quiet for longest.
type attempts struct {
	most int

	mu     sync.Mutex
	byAddr map[netip.Addr]*list.Element // of *attempt
	recent *list.List                   // the newest first
}

type attempt struct {
	addr    netip.Addr
	limiter *rate.Limiter
}

func newAttempts(most int) *attempts {
	return &attempts{most: most, byAddr: make(map[netip.Addr]*list.Element), recent: list.New()}
}

// allowed reports whether the address may try now. Good tokens cost nothing, so that a whole site
// behind one NAT can enrol at once.
func (a *attempts) allowed(addr netip.Addr, now time.Time) bool {
	return a.limiter(network(addr)).TokensAt(now) >= 1
}

// failed counts a wrong token. Many at the same time go into debt, up to a bound.
func (a *attempts) failed(addr netip.Addr, now time.Time) {
	if l := a.limiter(network(addr)); l.TokensAt(now) > -attemptBurst {
		l.ReserveN(now, 1)
	}
}

func (a *attempts) limiter(addr netip.Addr) *rate.Limiter {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e, ok := a.byAddr[addr]; ok {
		a.recent.MoveToFront(e)
		return e.Value.(*attempt).limiter
	}
	if a.recent.Len() >= a.most {
		oldest := a.recent.Remove(a.recent.Back()).(*attempt)
		delete(a.byAddr, oldest.addr)
	}
	entry := &attempt{addr: addr, limiter: rate.NewLimiter(rate.Every(attemptEvery), attemptBurst)}
	a.byAddr[addr] = a.recent.PushFront(entry)
	return entry.limiter
}

// network is what one attacker has: an IPv4 address, or an IPv6 /64.
func network(addr netip.Addr) netip.Addr {
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		p, _ := addr.Prefix(64)
		return p.Addr()
	}
	return addr
}
