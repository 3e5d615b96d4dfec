package datapath

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/sad"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// association is what both directions have.
type association struct {
	id         SAID
	pair       *pair
	generation uint32
	spi        uint32
	transform  Transform
	esn        bool
	installed  time.Duration

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

// outboundSA is guarded by Datapath.sending.
type outboundSA struct {
	association
	sealer *esp.Sealer
}

// inboundSA has a lock of its own: packets for it can come by either socket.
type inboundSA struct {
	association
	mu     sync.Mutex
	opener *esp.Opener
}

// InstallInbound installs a receiving SA. The same id again is acknowledged and changes nothing;
// otherwise *Burnt, ErrSPIClash or ErrNoPair.
func (d *Datapath) InstallInbound(sa SA) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	record, base, config, err := d.prepare(sa, sad.Inbound)
	if err != nil {
		return err
	}
	installed, err := d.inbound.Install(record, func() (*inboundSA, error) {
		opener, err := esp.NewOpener(config)
		return &inboundSA{association: base, opener: opener}, err
	})
	if err != nil || !installed {
		return installError(sa, err)
	}
	next := *d.tables.Load()
	next.inbound = d.inbound.View()
	d.tables.Store(&next)
	return nil
}

// InstallOutbound installs a sending SA; its generation is the newest, so the pair's traffic moves to
// it. The same id again is acknowledged and changes nothing; otherwise *Burnt or ErrNoPair. It sends one
// dummy packet, so that NAT mappings appear.
func (d *Datapath) InstallOutbound(sa SA) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	record, base, config, err := d.prepare(sa, sad.Outbound)
	if err != nil {
		return err
	}
	out := &outboundSA{association: base}
	installed, err := d.outbound.Install(record, func() (*outboundSA, error) {
		var err error
		out.sealer, err = esp.NewSealer(config)
		return out, err
	})
	if err != nil || !installed {
		return installError(sa, err)
	}
	next := *d.tables.Load()
	next.outbound = d.outbound.View()
	d.tables.Store(&next)
	d.todo = append(d.todo, notice{kind: noticeInstalled, pair: base.pair})
	d.rouse()
	return nil
}

// prepare translates sa. The caller holds d.mu.
func (d *Datapath) prepare(sa SA, direction sad.Direction) (sad.SA, association, esp.Config, error) {
	p := d.pairs[sa.Pair]
	if p == nil {
		return sad.SA{}, association{}, esp.Config{}, fmt.Errorf("%w: %v of %v", ErrNoPair, sa.Pair, sa)
	}
	encryption, err := encryptionOf(sa.Transform)
	if err != nil {
		return sad.SA{}, association{}, esp.Config{}, fmt.Errorf("datapath: %v: %w", sa, err)
	}
	now := d.config.Clock()
	window := sa.ReplayWindow
	if window == 0 {
		window = DefaultReplayWindow
	}
	record := sad.SA{ID: sa.ID, Pair: sa.Pair, Generation: sa.Generation, SPI: sa.SPI, Direction: direction,
		Lifetime: sad.Lifetime{Soft: limits(now, sa.Soft), Hard: limits(now, sa.Hard)}}
	if !sa.ESN {
		capPackets(&record.Lifetime)
	}
	base := association{id: sa.ID, pair: p, generation: sa.Generation, spi: sa.SPI, transform: sa.Transform,
		esn: sa.ESN, installed: now, last: now, account: sad.NewAccount(record.Lifetime)}
	config := esp.Config{SPI: sa.SPI, Encryption: encryption, Keymat: sa.Key, ESN: sa.ESN, Window: window}
	return record, base, config, nil
}

// encryptionOf finds the transform. ChaCha20-Poly1305 has one key length, and both ways to say so are
// taken.
func encryptionOf(t Transform) (transform.Encryption, error) {
	e, err := transform.ByID(t.ID, t.KeyBits)
	if err != nil {
		if fixed, e2 := transform.ByID(t.ID, 0); e2 == nil && fixed.KeyLen*8 == int(t.KeyBits) {
			return fixed, nil
		}
		return transform.Encryption{}, err
	}
	if !e.AEAD() {
		return transform.Encryption{}, fmt.Errorf("%w: %v is not a combined mode", transform.ErrUnknown, e)
	}
	return e, nil
}

// limits turns a remaining lifetime into a deadline. One that is over already ends at once.
func limits(now time.Duration, l Lifetime) sad.Limits {
	limit := sad.Limits{Bytes: l.Bytes, Packets: l.Packets}
	if l.Time != 0 {
		limit.Deadline = max(now+l.Time, 1)
	}
	return limit
}

// capPackets asks for a new generation before 32-bit sequence numbers run out.
func capPackets(l *sad.Lifetime) {
	const soft = math.MaxUint32 / 16 * 15
	if l.Soft.Packets == 0 || l.Soft.Packets > soft {
		l.Soft.Packets = soft
	}
}

func installError(sa SA, err error) error {
	if burnt, ok := errors.AsType[*sad.BurntError](err); ok {
		return &Burnt{Highest: burnt.Highest}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sad.ErrSPIClash):
		return fmt.Errorf("%w: %v", ErrSPIClash, sa)
	}
	return fmt.Errorf("datapath: %v: %w", sa, err)
}

// RemoveInbound deletes a receiving SA. ErrNoSA if there is none.
func (d *Datapath) RemoveInbound(id SAID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.inbound.Remove(id); !ok {
		return ErrNoSA
	}
	d.publishSAs()
	return nil
}

// RemoveOutbound deletes a sending SA; traffic falls back to the pair's newest remaining one.
// ErrNoSA if there is none.
func (d *Datapath) RemoveOutbound(id SAID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.outbound.Remove(id); !ok {
		return ErrNoSA
	}
	d.publishSAs()
	return nil
}

// publishSAs is called with d.mu held.
func (d *Datapath) publishSAs() {
	next := *d.tables.Load()
	next.inbound, next.outbound = d.inbound.View(), d.outbound.View()
	d.tables.Store(&next)
}
