package manual

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/netio"
)

// Drain is how long an inbound SA is kept beside its successor, for packets that are under way.
const Drain = 10 * time.Second

// Datapath carries packets; a *datapath.Datapath.
type Datapath interface {
	Raiser
	SetPairs(...datapath.Pair) error
	SetRules(...datapath.Rule) error
	RemovePair(datapath.PairID) error
	InstallInbound(datapath.SA) error
	InstallOutbound(datapath.SA) error
	RemoveInbound(datapath.SAID) error
	RemoveOutbound(datapath.SAID) error
}

// Network has the guard and the routes; a *netio.Network.
type Network interface {
	// Apply makes the system equal to what is desired.
	Apply(context.Context, netio.Desired) error
}

// Config is what NewApplier needs.
type Config struct {
	Datapath Datapath
	Network  Network
	// Reservations are where numbers for outbound SAs come from.
	Reservations *Reservations
	Log          *slog.Logger
}

// Applier makes the agent follow one file after another, always in an order in which nothing protected can
// leave in clear, and traffic goes on where both ends still have a key in common:
//
//	guard and routes of both files ▶ rules, pairs ▶ inbound SAs ▶ outbound SAs
//	                   ▶ old outbound SAs gone ▶ old pairs gone ▶ guard and routes of the new file
//	                   ▶ after Drain: old inbound SAs gone
//
// An SA that has not changed is not touched. One that has gets the pair's next generation. Its methods are
// called by one goroutine.
type Applier struct {
	config Config
	keeper *Keeper

	guarded []Policy        // what the network was last told, keys cleared
	rules   []datapath.Rule // what the datapath was last told
	held    map[string]*held
	// generations are the highest of each policy's name, in this life of the agent; never forgotten.
	generations map[string]uint32
	draining    []draining
}

// held are the installed SAs of a policy, keys cleared; nil where there is none.
type held struct{ in, out *installed }

type installed struct {
	policy string
	id     datapath.SAID
	sa     SA
}

// draining is an inbound SA that has a successor.
type draining struct {
	installed
	until time.Time
}

// NewApplier makes an applier on a datapath without pairs.
func NewApplier(c Config) *Applier {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Applier{config: c, keeper: NewKeeper(c.Reservations, c.Datapath, c.Log),
		held: make(map[string]*held), generations: make(map[string]uint32)}
}

// Keeper keeps the SAs that Apply installs in sequence numbers.
func (a *Applier) Keeper() *Keeper { return a.keeper }

// change is an SA to install.
type change struct {
	policy  string
	inbound bool
	sa      SA
	install datapath.SA
	done    bool // it is installed
}

// Apply makes the agent follow the file, and clears its keys. Errors before anything has changed: ErrExhausted,
// or that no numbers can be reserved. After another error some of it is done; what both files protect stays
// guarded, and Apply may be called again.
func (a *Applier) Apply(ctx context.Context, f *File) error {
	defer f.Clear()
	if f.Insecure {
		a.config.Log.Warn("the file says insecure: true: algorithms and ways to use keys that RFC 8221 forbids are allowed")
	}
	changes, err := a.plan(f)
	defer a.abandon(changes)
	if err != nil {
		return err
	}
	if err := a.guard(ctx, transition(a.guarded, f.Policies), f.DiscardRest); err != nil {
		return err
	}
	if err := a.setPolicies(f.Policies); err != nil {
		return fmt.Errorf("manual: %w", err)
	}
	for _, inbound := range []bool{true, false} {
		for i := range changes {
			if changes[i].inbound == inbound {
				if err := a.install(&changes[i]); err != nil {
					return err
				}
			}
		}
	}
	if err := a.shrink(f.Policies); err != nil {
		return err
	}
	return a.guard(ctx, f.Policies, f.DiscardRest)
}

// guard tells the network. After a failure all that it was told before and now may be in force, and the next
// transition begins with that.
func (a *Applier) guard(ctx context.Context, policies []Policy, discardRest bool) error {
	before := a.guarded
	a.guarded = transition(before, policies)
	if err := a.config.Network.Apply(ctx, desired(policies, discardRest)); err != nil {
		return fmt.Errorf("manual: %w", err)
	}
	a.guarded = policies
	return nil
}

// plan finds the SAs to install and reserves their sequence numbers; with an error, those up to it.
func (a *Applier) plan(f *File) (changes []change, err error) {
	for _, p := range f.Policies {
		if p.Protection == nil {
			continue
		}
		have := a.held[p.Name]
		if have == nil {
			have = new(held)
		}
		next := a.generations[p.Name] + 1
		for _, c := range []change{
			{policy: p.Name, inbound: true, sa: p.Protection.In, install: p.Protection.In.install(p.Name, true, next)},
			{policy: p.Name, sa: p.Protection.Out, install: p.Protection.Out.install(p.Name, false, next)},
		} {
			now := have.out
			if c.inbound {
				now = have.in
			}
			if now != nil && now.sa.same(&c.sa) {
				continue
			}
			if !c.inbound {
				c.install.Sequence, c.install.Ceiling, err = a.keeper.reserve(p.Name, c.install.ID, c.sa.Fingerprint, c.sa.Spec.ESN)
				if err != nil {
					return changes, fmt.Errorf("policy %q: %w", p.Name, err)
				}
			}
			changes = append(changes, c)
		}
	}
	for _, c := range changes {
		a.generations[c.policy] = c.install.Generation
	}
	return changes, nil
}

// abandon gives back the numbers of SAs that were not installed.
func (a *Applier) abandon(changes []change) {
	for i := range changes {
		if c := &changes[i]; !c.inbound && !c.done {
			a.keeper.giveBack(c.install.ID)
		}
	}
}

// setPolicies gives the datapath pairs and rules. While the pairs move, the rules of both files hold: the
// datapath then drops more than either would, but protects nothing that is to be dropped.
func (a *Applier) setPolicies(policies []Policy) error {
	after := rules(policies)
	both := slices.Clone(after)
	for _, r := range a.rules {
		if !slices.ContainsFunc(after, func(n datapath.Rule) bool { return n.ID == r.ID }) {
			both = append(both, r)
		}
	}
	if err := a.config.Datapath.SetRules(both...); err != nil {
		return err
	}
	a.rules = both
	var pairs []datapath.Pair
	for i := range policies {
		if policies[i].Protection != nil {
			pairs = append(pairs, policies[i].pair(i))
		}
	}
	if len(pairs) > 0 {
		if err := a.config.Datapath.SetPairs(pairs...); err != nil {
			return err
		}
	}
	for _, p := range pairs {
		if a.held[p.Policy] == nil {
			a.held[p.Policy] = new(held)
		}
	}
	if err := a.config.Datapath.SetRules(after...); err != nil {
		return err
	}
	a.rules = after
	return nil
}

// install installs one SA. Its predecessor stops sending at once, but is received for a while, unless both
// would be found by one SPI.
func (a *Applier) install(c *change) error {
	have, now := a.held[c.policy], &installed{policy: c.policy, id: c.install.ID, sa: c.sa}
	now.sa.Keymat = nil
	if c.inbound {
		if err := a.free(&c.install); err != nil {
			return err
		}
		if err := a.config.Datapath.InstallInbound(c.install); err != nil {
			return fmt.Errorf("manual: policy %q: %w", c.policy, err)
		}
		if have.in != nil {
			a.draining = append(a.draining, draining{*have.in, time.Now().Add(Drain)})
		}
		have.in = now
		return nil
	}
	if err := a.config.Datapath.InstallOutbound(c.install); err != nil {
		return fmt.Errorf("manual: policy %q: %w", c.policy, err)
	}
	old := have.out
	have.out, c.done = now, true
	if old == nil {
		return nil
	}
	return a.removeOutbound(old)
}

// free removes inbound SAs that a new one's packets could be taken for: those of the same SPI, destination and
// source. There is no way to have both.
func (a *Applier) free(sa *datapath.SA) error {
	clashes := func(o *installed) bool {
		return o != nil && o.sa.Spec.SPI == sa.SPI && o.sa.Spec.Destination == sa.Destination && o.sa.Spec.Source == sa.Source
	}
	for _, h := range a.held {
		if clashes(h.in) {
			if err := a.removeInbound(h.in); err != nil {
				return err
			}
			h.in = nil
		}
	}
	return a.dropDraining(func(d *draining) bool { return clashes(&d.installed) })
}

// shrink removes the pairs that the new file does not have. What is received goes last.
func (a *Applier) shrink(policies []Policy) error {
	kept := make(map[string]bool)
	for _, p := range policies {
		kept[p.Name] = p.Protection != nil
	}
	for _, name := range slices.Sorted(maps.Keys(a.held)) {
		if kept[name] {
			continue
		}
		h := a.held[name]
		if h.out != nil {
			if err := a.removeOutbound(h.out); err != nil {
				return err
			}
			h.out = nil
		}
		if h.in != nil {
			if err := a.removeInbound(h.in); err != nil {
				return err
			}
			h.in = nil
		}
		// RemovePair takes the draining SAs too.
		if err := a.config.Datapath.RemovePair(pairID(name)); err != nil && !errors.Is(err, datapath.ErrNoPair) {
			return fmt.Errorf("manual: policy %q: %w", name, err)
		}
		a.draining = slices.DeleteFunc(a.draining, func(d draining) bool { return d.policy == name })
		delete(a.held, name)
	}
	return nil
}

// Drained is when the next old inbound SA is to go, by Sweep; false if there is none.
func (a *Applier) Drained() (time.Time, bool) {
	if len(a.draining) == 0 {
		return time.Time{}, false
	}
	return a.draining[0].until, true
}

// Sweep removes the old inbound SAs whose time has come.
func (a *Applier) Sweep(now time.Time) error {
	return a.dropDraining(func(d *draining) bool { return !now.Before(d.until) })
}

func (a *Applier) dropDraining(gone func(*draining) bool) error {
	var errs []error
	a.draining = slices.DeleteFunc(a.draining, func(d draining) bool {
		if !gone(&d) {
			return false
		}
		errs = append(errs, a.removeInbound(&d.installed))
		return true
	})
	return errors.Join(errs...)
}

// removeInbound removes an SA, if its lifetime has not ended it.
func (a *Applier) removeInbound(o *installed) error {
	if err := a.config.Datapath.RemoveInbound(o.id); err != nil && !errors.Is(err, datapath.ErrNoSA) {
		return fmt.Errorf("manual: %w", err)
	}
	return nil
}

func (a *Applier) removeOutbound(o *installed) error {
	a.keeper.forget(o.id)
	if err := a.config.Datapath.RemoveOutbound(o.id); err != nil && !errors.Is(err, datapath.ErrNoSA) {
		return fmt.Errorf("manual: %w", err)
	}
	return nil
}
