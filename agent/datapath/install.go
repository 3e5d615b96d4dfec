package datapath

import (
	"errors"
	"fmt"
	"math"
	"time"

	"sallyport.dev/sallyport/services/protocol/ah"
	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/sad"
	"sallyport.dev/sallyport/services/protocol/spd"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// InstallInbound installs a receiving SA. The same id again is acknowledged and changes nothing;
// otherwise *Burnt, ErrSPIClash, ErrNoPair, ErrSA or transform's errors.
func (d *Datapath) InstallInbound(sa SA) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	record, base, suite, err := d.prepare(sa, sad.Inbound)
	if err != nil {
		return err
	}
	in := &inboundSA{association: base, nat: sa.NAT}
	installed, err := d.inbound.Install(record, func() (*inboundSA, error) {
		var err error
		if sa.Protocol == AH {
			in.ah, err = ah.NewOpener(ahConfig(sa, suite))
		} else {
			in.esp, err = esp.NewOpener(d.espConfig(sa, suite, nil))
		}
		return in, err
	})
	if err != nil || !installed {
		return installError(sa, err)
	}
	next := *d.tables.Load()
	next.inbound = d.inbound.View()
	d.tables.Store(&next)
	return nil
}

// InstallOutbound installs a sending SA, which traffic takes from now on. Errors are those of
// InstallInbound, but for ErrSPIClash.
func (d *Datapath) InstallOutbound(sa SA) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	record, base, suite, err := d.prepare(sa, sad.Outbound)
	if err != nil {
		return err
	}
	out := &outboundSA{association: base, outer: sa.Outer}
	installed, err := d.outbound.Install(record, func() (*outboundSA, error) {
		var err error
		if sa.Protocol == AH {
			out.ah, err = ah.NewSealer(ahConfig(sa, suite))
		} else {
			out.esp, err = esp.NewSealer(d.espConfig(sa, suite, d.ivSeed()))
		}
		return out, err
	})
	if err != nil || !installed {
		return installError(sa, err)
	}
	out.setNear()
	d.bySPI[sa.SPI] = append(d.bySPI[sa.SPI], out)
	d.inheritMTU(out)
	next := *d.tables.Load()
	next.outbound = d.outbound.View()
	d.tables.Store(&next)
	d.pending = append(d.pending, notice{kind: noticeInstalled, pair: base.pair})
	d.rouse()
	return nil
}

// ErrSA: an SA contradicts itself.
var ErrSA = errors.New("datapath: bad SA")

// prepare checks and translates sa. The caller holds d.mu.
func (d *Datapath) prepare(sa SA, direction sad.Direction) (sad.SA, association, transform.Suite, error) {
	fail := func(err error) (sad.SA, association, transform.Suite, error) {
		return sad.SA{}, association{}, transform.Suite{}, err
	}
	p := d.pairs[sa.Pair]
	if p == nil {
		return fail(fmt.Errorf("%w: %v of %v", ErrNoPair, sa.Pair, sa))
	}
	if err := sa.check(); err != nil {
		return fail(err)
	}
	suite, err := suiteOf(sa)
	if err != nil {
		return fail(fmt.Errorf("datapath: %v: %w", sa, err))
	}
	now := d.config.Clock()
	record := sad.SA{ID: sa.ID, Pair: sa.Pair, Generation: sa.Generation, SPI: sa.SPI, Direction: direction,
		Destination: sa.Destination, Source: sa.Source, Narrowed: len(sa.Local) > 0}
	life := sad.Lifetime{Soft: limits(now, sa.Soft), Hard: limits(now, sa.Hard)}
	if !sa.ESN {
		capPackets(&life)
	}
	base := association{id: sa.ID, pair: p, generation: sa.Generation, spi: sa.SPI, transform: sa.Transform,
		protocol: sa.protocol(), mode: sa.Mode, encapsulation: sa.Encapsulation,
		esn: sa.ESN, installed: now, last: now, account: sad.NewAccount(life)}
	if record.Narrowed {
		base.narrowed = &spd.Entry{ID: sa.ID, Action: spd.Protect, Pair: sa.Pair, Local: sa.Local, Remote: sa.Remote}
		if err := base.narrowed.Validate(); err != nil {
			return fail(fmt.Errorf("%w: %v: %w", ErrSA, sa, err))
		}
	}
	if d.config.KeepKeys {
		base.keymat = append(transform.Keymat(nil), sa.Key...)
	}
	return record, base, suite, nil
}

func (sa *SA) protocol() Protocol {
	if sa.Protocol == 0 {
		return ESP
	}
	return sa.Protocol
}

func (sa *SA) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %v: %s", ErrSA, *sa, fmt.Sprintf(format, args...))
	}
	o := &sa.Outer
	switch {
	case sa.protocol() != ESP && sa.protocol() != AH:
		return bad("protocol %d is neither ESP nor AH", sa.Protocol)
	case sa.Protocol == AH && sa.Encapsulation != Native:
		return bad("AH cannot travel in UDP (RFC 3948 section 1)")
	case sa.Mode > Transport || sa.Encapsulation > Native || o.DF > DFClear:
		return bad("mode %d, encapsulation %d, DF %d: there is no such", sa.Mode, sa.Encapsulation, o.DF)
	case sa.ESN && sa.ReplayWindow == NoReplayWindow:
		return bad("extended sequence numbers need anti-replay (RFC 4303 section 2.2.1)")
	case o.Pad < 0 || o.Pad > maxDatagram || o.DSCP > 63 || o.MTU < 0 || o.MTU > 65535 || o.DummyInterval < 0:
		return bad("an outer parameter is out of range: %+v", *o)
	case o.Pad > 0 && (sa.Mode != Tunnel || sa.Protocol == AH):
		return bad("TFC padding is for ESP in tunnel mode (RFC 4303 section 2.7)")
	case o.DummyInterval > 0 && sa.Protocol == AH:
		return bad("AH has no dummy packets")
	case sa.Source.IsValid() && !sa.Destination.IsValid():
		return bad("a lookup by source needs the destination too (RFC 4301 section 4.1)")
	case len(sa.Local) == 0 != (len(sa.Remote) == 0):
		return bad("selectors on one side only")
	}
	return nil
}

// suiteOf finds the transforms. AH has an integrity algorithm alone.
func suiteOf(sa SA) (suite transform.Suite, err error) {
	if suite.Integrity, err = transform.IntegrityByID(sa.Transform.Integrity); err != nil {
		return transform.Suite{}, err
	}
	if sa.Protocol == AH {
		if sa.Transform.ID != 0 {
			return transform.Suite{}, fmt.Errorf("%w: AH encrypts nothing, but encryption %d is asked for", transform.ErrUnknown, sa.Transform.ID)
		}
		return suite, nil
	}
	if suite.Encryption, err = encryptionByID(sa.Transform, sa.Insecure); err != nil {
		return transform.Suite{}, err
	}
	return suite, suite.Check()
}

// encryptionByID finds the encryption. ChaCha20-Poly1305 has one key length, and both ways to say so are taken.
func encryptionByID(t Transform, insecure bool) (transform.Encryption, error) {
	byID := transform.ByID
	if insecure {
		byID = transform.InsecureByID
	}
	e, err := byID(t.ID, t.KeyBits)
	if err != nil {
		if fixed, e2 := byID(t.ID, 0); e2 == nil && fixed.KeyLen*8 == int(t.KeyBits) {
			return fixed, nil
		}
	}
	return e, err
}

func window(sa SA) int {
	if sa.ReplayWindow == 0 {
		return DefaultReplayWindow
	}
	return sa.ReplayWindow
}

func (d *Datapath) espConfig(sa SA, suite transform.Suite, seed []byte) esp.Config {
	return esp.Config{SPI: sa.SPI, Encryption: suite.Encryption, Integrity: suite.Integrity, Keymat: sa.Key, ESN: sa.ESN,
		Window: window(sa), Transport: sa.Mode == Transport, Sequence: sa.Sequence, Ceiling: sa.Ceiling, IVSeed: seed}
}

func ahConfig(sa SA, suite transform.Suite) ah.Config {
	return ah.Config{SPI: sa.SPI, Integrity: suite.Integrity, Keymat: sa.Key, ESN: sa.ESN, Window: window(sa),
		Align8: sa.Outer.Align8, Sequence: sa.Sequence, Ceiling: sa.Ceiling}
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
	if !d.removeOutbound(id) {
		return ErrNoSA
	}
	d.publishSAs()
	return nil
}

// removeOutbound is called with d.mu held.
func (d *Datapath) removeOutbound(id SAID) bool {
	sa, ok := d.outbound.Remove(id)
	if !ok {
		return false
	}
	rest := d.bySPI[sa.spi][:0]
	for _, other := range d.bySPI[sa.spi] {
		if other != sa {
			rest = append(rest, other)
		}
	}
	if len(rest) == 0 {
		delete(d.bySPI, sa.spi)
	} else {
		d.bySPI[sa.spi] = rest
	}
	return true
}

// RaiseCeiling lets an outbound SA that was installed with a ceiling use sequence numbers up to n.
// ErrNoSA if there is none.
func (d *Datapath) RaiseCeiling(id SAID, n uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, sa, ok := d.outbound.Get(id)
	if !ok {
		return ErrNoSA
	}
	d.sending.Lock()
	defer d.sending.Unlock()
	sa.raiseCeiling(n)
	return nil
}

// publishSAs is called with d.mu held.
func (d *Datapath) publishSAs() {
	next := *d.tables.Load()
	next.inbound, next.outbound = d.inbound.View(), d.outbound.View()
	d.tables.Store(&next)
}
