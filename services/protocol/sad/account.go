package sad

import "time"

// Account counts what one SA has carried against its lifetime. NewAccount makes it.
// It is not safe for concurrent use: keep it where the SA's Sealer or Opener is.
type Account struct {
	life    Lifetime
	bytes   uint64
	packets uint64
	state   State
}

// NewAccount starts an account at nothing.
func NewAccount(l Lifetime) Account { return Account{life: l} }

// Count takes one packet with n bytes of payload into the account, at time now, and
// returns the state after it. Hard means that the packet must be dropped: it came past a
// hard limit, or would exceed one. Nothing was counted then, and nothing ever will be.
//
// An outbound packet is counted before it is sealed, an inbound one after its ICV has
// been verified.
func (a *Account) Count(now time.Duration, n int) State {
	size := uint64(max(n, 0))
	if a.State(now) == Hard || a.full(size) {
		a.state = Hard
		return Hard
	}
	a.bytes += size
	a.packets++
	return a.State(now)
}

// State returns the state at time now. It never goes back, whatever now is.
func (a *Account) State(now time.Duration) State {
	switch {
	case a.state == Hard, reached(now, a.life.Hard.Deadline):
		a.state = Hard
	case a.state == Soft, a.pastSoft(now):
		a.state = Soft
	}
	return a.state
}

// Bytes is the payload counted.
func (a *Account) Bytes() uint64 { return a.bytes }

// Packets is the number of packets counted.
func (a *Account) Packets() uint64 { return a.packets }

// Lifetime returns the limits.
func (a *Account) Lifetime() Lifetime { return a.life }

// full reports whether one more packet would exceed a hard limit.
func (a *Account) full(size uint64) bool {
	hard := a.life.Hard
	return hard.Packets != 0 && a.packets >= hard.Packets ||
		hard.Bytes != 0 && (a.bytes > hard.Bytes || size > hard.Bytes-a.bytes)
}

func (a *Account) pastSoft(now time.Duration) bool {
	soft := a.life.Soft
	return reached(now, soft.Deadline) ||
		soft.Packets != 0 && a.packets >= soft.Packets ||
		soft.Bytes != 0 && a.bytes >= soft.Bytes
}

func reached(now, deadline time.Duration) bool { return deadline != 0 && now >= deadline }
