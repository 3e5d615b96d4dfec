package uplink

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/grpc"

	"sallyport.dev/sallyport/agent/datapath"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

// maxUnderlay is the contract's bound of HostReport.underlay_addresses.
const maxUnderlay = 64

// Config is what New needs. Controllers, State, Dialer, Installer and Events are required.
type Config struct {
	// Controllers are host:port addresses, tried in turn.
	Controllers []string
	// State is the agent's state directory, open.
	State *State
	// JoinToken is used when there is no identity yet.
	JoinToken *enrol.Token
	// Dialer reaches a controller.
	Dialer Dialer
	// Installer carries out what the controller says.
	Installer Installer
	// Manual installs associations whose keys an operator gave; nil refuses them.
	Manual ManualInstaller
	// IKE carries the datagrams of peers; nil: there are none to carry.
	IKE IKERelay
	// Events are the datapath's.
	Events <-chan datapath.Event
	// Addresses are the host's underlay addresses now; AddressesChanged says when to look again. Nil
	// means that there are none to tell.
	Addresses        func() []netip.Addr
	AddressesChanged <-chan struct{}
	// Drops counts dropped packets by reason; nil means that nobody counts.
	Drops func() map[string]uint64
	// ESPPort is the UDP port on which ESP arrives.
	ESPPort uint16
	// Version is the agent's version.
	Version string
	// Log gets what an operator should know; nil discards it.
	Log *slog.Logger
	// Now is the time; nil means time.Now.
	Now func() time.Time
}

// Dialer reaches a controller, whose certificate it verifies.
type Dialer interface {
	// Enrol exchanges a join token for an identity on the state's key.
	Enrol(ctx context.Context, address string, token enrol.Token, key *Key) (*fleetv1.Identity, error)
	// Dial opens a connection as the host; identity is asked at each handshake.
	Dial(ctx context.Context, address string, identity func() *Identity) (*grpc.ClientConn, error)
}

// Uplink is the agent's end of the controller, for one life of the agent's process.
type Uplink struct {
	config  Config
	log     *slog.Logger
	epoch   [16]byte
	streams uint64 // opened so far; of Run's goroutine
	held    *holdings
	applier *applier
	highest *highest
	note    *status
	// renewal admits one renewal at a time, replacing one change of the identity on disk.
	renewal, replacing sync.Mutex

	mu      sync.Mutex
	id      *Identity
	current *stream
}

// New checks c and draws the epoch: one Uplink is one epoch. It starts nothing.
func New(c Config) (*Uplink, error) {
	switch {
	case len(c.Controllers) == 0:
		return nil, errors.New("uplink: no controller: give --controller HOST:PORT")
	case c.State == nil || c.Dialer == nil || c.Installer == nil || c.Events == nil:
		return nil, errors.New("uplink: state, dialer, installer or events are missing")
	case c.ESPPort == 0:
		return nil, errors.New("uplink: no ESP port")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	u := &Uplink{config: c, log: c.Log, held: newHoldings(), note: newStatus(c.Now)}
	rand.Read(u.epoch[:]) // never fails
	u.applier = &applier{installer: c.Installer, manual: c.Manual, held: u.held, saveConfig: u.saveConfig}
	u.highest = &highest{now: c.Now, save: u.savePosition}
	return u, nil
}

// Run enrols if need be, and then keeps a stream open until ctx ends. It returns nil then; else
// ErrRemoved, or the error that makes it useless to go on: a refused token, a damaged state directory.
func (u *Uplink) Run(ctx context.Context) error {
	if err := u.load(); err != nil {
		return err
	}
	if err := u.enrol(ctx); err != nil {
		return stopped(ctx, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	defer u.highest.flush()
	running.Go(func() { u.events(ctx) })
	running.Go(func() { u.renewals(ctx) })
	return stopped(ctx, u.streamLoop(ctx))
}

// stopped is nil when err only says that ctx has ended.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ErrRemoved) {
		return nil
	}
	return err
}

// load takes up what the last life left: the identity, the position and the configuration.
func (u *Uplink) load() error {
	id, err := u.config.State.identity()
	if err != nil {
		return err
	}
	u.setIdentity(id)
	if u.highest.seen, err = u.config.State.position(); err != nil {
		u.log.Warn("the saved position cannot be read; a rolled back store would go unnoticed", "err", err)
	}
	return u.lastConfig()
}

// lastConfig installs the configuration of the last life, so that the host has its addresses, and
// drops what must not leave in clear, before the controller answers. It is not held: it comes again.
func (u *Uplink) lastConfig() error {
	saved, err := u.config.State.hostConfig()
	if saved == nil && err == nil {
		return nil
	}
	var c HostConfig
	if err == nil {
		c, err = hostConfig(saved)
	}
	if err != nil { // it comes again; until then the saved guard stands
		u.log.Warn("the saved configuration is not usable; waiting for the controller's", "err", err)
		return nil
	}
	return u.config.Installer.Configure(c)
}

func (u *Uplink) setIdentity(id *Identity) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.id = id
}

func (u *Uplink) identity() *Identity {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.id
}

// streamLoop opens one stream after the other.
func (u *Uplink) streamLoop(ctx context.Context) error {
	var retry backoff
	for attempt := 0; ; attempt++ {
		address := u.config.Controllers[attempt%len(u.config.Controllers)]
		welcomed, err := u.connect(ctx, address)
		if errors.Is(err, ErrRemoved) || ctx.Err() != nil {
			return err
		}
		if welcomed {
			retry.reset()
		}
		wait := retry.next()
		advice := ""
		switch fault.ReasonOf(err) {
		case reasonDuplicate:
			wait = mostRetry // two agents that chase each other help nobody
			advice = "another agent runs with this host's key: find it and stop it"
		case reasonExpired: // by the controller's clock
			if err := u.renewIfDue(ctx, address, true); err != nil {
				advice = "the certificate could not be renewed: " + err.Error()
			}
		case reasonRemoved, reasonRevoked:
			// Absence is not deletion: the store may have been restored from before this host's time.
			wait = mostRetry
			advice = "if the host was removed on purpose, stop the agent and run `sallyport-agent cleanup`; else join anew with a token"
		}
		u.note.lost(address, err)
		u.log.Warn("no stream to the controller; what is installed stays", "controller", address, "err", err,
			"retry_in", wait, "advice", advice)
		if !pause(ctx, wait) {
			return ctx.Err()
		}
	}
}

// connect is one attempt: a connection and the stream on it.
func (u *Uplink) connect(ctx context.Context, address string) (welcomed bool, err error) {
	if !u.config.Now().Before(u.identity().NotAfter()) {
		if err := u.renewIfDue(ctx, address, false); err != nil {
			return false, err
		}
	}
	conn, err := u.config.Dialer.Dial(ctx, address, u.identity)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	u.streams++
	u.note.opening(address)
	welcomed, err = u.serve(ctx, conn)
	return welcomed, fault.FromError(err)
}

// pause waits; false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (u *Uplink) attach(s *stream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.current = s
}

func (u *Uplink) detach(s *stream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.current == s {
		u.current = nil
	}
}

// events notes what the datapath says, and tells it to the stream that is open. What nobody hears
// shows in the next stream: a lost association is missing in its inventory, a soft limit is told
// again.
func (u *Uplink) events(ctx context.Context) {
	for {
		select {
		case e := <-u.config.Events:
			u.event(e)
		case <-ctx.Done():
			return
		}
	}
}

func (u *Uplink) event(e datapath.Event) {
	n := saName(e.SA, e.Inbound)
	var reason fleetv1.ExpireReason
	switch e.Kind {
	case datapath.SoftLifetime:
		if !u.held.soft(n) {
			return
		}
		reason = fleetv1.ExpireReason_EXPIRE_REASON_SOFT
	case datapath.HardLifetime:
		u.held.forget(n)
		reason = fleetv1.ExpireReason_EXPIRE_REASON_HARD
		u.log.Warn("an association reached its hard lifetime and is gone", "sa", n.String(), "remote", e.RemoteHost)
	case datapath.Acquire:
		u.tell(acquire(e))
		return
	case datapath.PathChanged:
		u.log.Info("the path to a host behind NAT has moved", "remote", e.RemoteHost, "address", e.Addr)
		return
	default:
		return
	}
	u.tell(expire(n, reason))
}

// tell sends a message by the stream that is open; without one nobody hears it.
func (u *Uplink) tell(m *fleetv1.SyncRequest) {
	u.mu.Lock()
	s := u.current
	u.mu.Unlock()
	if s != nil {
		s.send(m)
	}
}

// addresses are the host's underlay addresses now, as many as the contract lets it tell.
func (u *Uplink) addresses() []netip.Addr {
	if u.config.Addresses == nil {
		return nil
	}
	all := u.config.Addresses()
	return all[:min(len(all), maxUnderlay)]
}

// report is the state of the host at these addresses.
func (u *Uplink) report(addresses []netip.Addr) *fleetv1.HostReport {
	r := &fleetv1.HostReport{EspPort: uint32(u.config.ESPPort), SecurityAssociations: uint32(u.held.count())}
	for _, a := range addresses {
		r.UnderlayAddresses = append(r.UnderlayAddresses, a.AsSlice())
	}
	if u.config.Drops != nil {
		r.Drops = maps.Clone(u.config.Drops())
	}
	return r
}

// Saving is best effort: what is lost comes again from the controller.

func (u *Uplink) saveConfig(c *fleetv1.Update) {
	if err := u.config.State.saveHostConfig(c.GetConfig()); err != nil {
		u.log.Error("the configuration cannot be saved: after a restart the host waits for the controller", "err", err)
	}
}

func (u *Uplink) savePosition(p *typesv1.Position) {
	if err := u.config.State.savePosition(p); err != nil {
		u.log.Error("the position cannot be saved", "err", err)
	}
}

// Status is how the uplink stands.
func (u *Uplink) Status() Status {
	s := u.note.get()
	s.Epoch = hex.EncodeToString(u.epoch[:])
	return s
}
