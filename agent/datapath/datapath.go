package datapath

import (
	"context"
	"errors"
	"time"
)

// Config is what New needs.
type Config struct {
	// Clock is the time since boot on CLOCK_BOOTTIME (netio.BootTime).
	Clock func() time.Duration
}

// Datapath is the running pipeline. All methods may be called concurrently.
type Datapath struct{ events chan Event }

// New checks c and makes a datapath without pairs or SAs.
func New(c Config) (*Datapath, error) {
	if c.Clock == nil {
		return nil, errors.New("datapath: no clock")
	}
	return &Datapath{events: make(chan Event)}, nil
}

// Run moves packets until ctx ends or a device fails for good. It closes neither TUN nor sockets.
func (d *Datapath) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// SetPair adds a pair, or changes one: selectors are replaced in place, SAs stay.
func (d *Datapath) SetPair(p Pair) error { return d.SetPairs(p) }

// SetPairs is SetPair for many pairs at once: all or none.
func (d *Datapath) SetPairs(pairs ...Pair) error { return nil }

// RemovePair removes a pair and every SA that it still has. ErrNoPair if there is none.
func (d *Datapath) RemovePair(id PairID) error { return ErrNoPair }

// InstallInbound installs a receiving SA. The same id again is acknowledged and changes nothing;
// otherwise *Burnt, ErrSPIClash or ErrNoPair.
func (d *Datapath) InstallInbound(sa SA) error { return ErrNoPair }

// InstallOutbound installs a sending SA and, if its generation is the newest, moves the pair's
// traffic to it. The same id again is acknowledged and changes nothing; otherwise *Burnt or
// ErrNoPair. It sends one dummy packet, so that NAT mappings appear.
func (d *Datapath) InstallOutbound(sa SA) error { return ErrNoPair }

// RemoveInbound deletes a receiving SA. ErrNoSA if there is none.
func (d *Datapath) RemoveInbound(id SAID) error { return ErrNoSA }

// RemoveOutbound deletes a sending SA; traffic falls back to the pair's newest remaining one.
// ErrNoSA if there is none.
func (d *Datapath) RemoveOutbound(id SAID) error { return ErrNoSA }

// Events delivers lifetime and path events. A slow reader delays events, never packets; an event
// is not lost. The channel is never closed.
func (d *Datapath) Events() <-chan Event { return d.events }

// SAs lists the installed SAs.
func (d *Datapath) SAs() []SAStatus { return nil }

// Pairs lists the pairs.
func (d *Datapath) Pairs() []PairStatus { return nil }

// Counters reads the counters.
func (d *Datapath) Counters() Counters { return Counters{} }
