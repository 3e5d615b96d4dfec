package uplink_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/uplink"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	"sallyport.dev/sallyport/services/protocol/enrol"
)

// patience bounds every wait of a test.
const patience = 20 * time.Second

// device is an Installer that keeps what it is told, by the datapath's rules.
type device struct {
	mu       sync.Mutex
	changed  chan struct{}
	config   uplink.HostConfig
	synced   int
	pairs    map[datapath.PairID]datapath.Pair
	in, out  map[datapath.SAID]datapath.SA
	highest  map[string]uint32 // by pair and direction
	keys     map[datapath.SAID]string
	installs int
	log      []string
	clash    bool // the next inbound SPI clashes
}

func newDevice() *device {
	return &device{
		changed: make(chan struct{}), pairs: map[datapath.PairID]datapath.Pair{}, in: map[datapath.SAID]datapath.SA{},
		out: map[datapath.SAID]datapath.SA{}, highest: map[string]uint32{}, keys: map[datapath.SAID]string{},
	}
}

// note records a call and wakes those who wait; the caller holds mu.
func (d *device) note(format string, args ...any) {
	d.log = append(d.log, fmt.Sprintf(format, args...))
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *device) Configure(c uplink.HostConfig) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.config = c
	d.note("configure")
	return nil
}

func (d *device) Synced() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.synced++
	d.note("synced")
	return nil
}

func (d *device) SetPairs(pairs ...datapath.Pair) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range pairs {
		d.pairs[p.ID] = p
		d.note("set %s", p.RemoteHost)
	}
	return nil
}

func (d *device) RemovePair(id datapath.PairID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.pairs, id)
	d.note("remove pair")
	return nil
}

func (d *device) InstallInbound(sa datapath.SA) error  { return d.install("in", d.in, sa) }
func (d *device) InstallOutbound(sa datapath.SA) error { return d.install("out", d.out, sa) }

func (d *device) install(way string, to map[datapath.SAID]datapath.SA, sa datapath.SA) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, held := to[sa.ID]; held {
		return nil
	}
	if _, ok := d.pairs[sa.Pair]; !ok {
		return datapath.ErrNoPair
	}
	at := way + sa.Pair.String()
	if d.highest[at] >= sa.Generation {
		return &datapath.Burnt{Highest: d.highest[at]}
	}
	if d.clash {
		d.clash = false
		return datapath.ErrSPIClash
	}
	d.highest[at] = sa.Generation
	d.installs++
	d.keys[sa.ID] += way + string(sa.Key)
	sa.Key = nil
	to[sa.ID] = sa
	d.note("install %s %d", way, sa.Generation)
	return nil
}

func (d *device) RemoveInbound(id datapath.SAID) error  { return d.remove("in", d.in, id) }
func (d *device) RemoveOutbound(id datapath.SAID) error { return d.remove("out", d.out, id) }

func (d *device) remove(way string, from map[datapath.SAID]datapath.SA, id datapath.SAID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	sa, ok := from[id]
	if !ok {
		return datapath.ErrNoSA
	}
	delete(from, id)
	d.note("remove %s %d", way, sa.Generation)
	return nil
}

// lose forgets an association, as the datapath does at a hard lifetime.
func (d *device) lose(id datapath.SAID, inbound bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if inbound {
		delete(d.in, id)
	} else {
		delete(d.out, id)
	}
}

// generations are the generations held: "in 1", "out 1".
func (d *device) generations() []string {
	var out []string
	for _, sa := range d.in {
		out = append(out, fmt.Sprintf("in %d", sa.Generation))
	}
	for _, sa := range d.out {
		out = append(out, fmt.Sprintf("out %d", sa.Generation))
	}
	slices.Sort(out)
	return out
}

// await waits until the device is as wished; ok is called with the device locked.
func (d *device) await(t *testing.T, what string, ok func(d *device) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		d.mu.Lock()
		done, changed := ok(d), d.changed
		d.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			d.mu.Lock()
			defer d.mu.Unlock()
			t.Fatalf("waited in vain for %s; pairs %d, held %v, log %q", what, len(d.pairs), d.generations(), d.log)
		}
	}
}

func (d *device) awaitHeld(t *testing.T, want ...string) {
	t.Helper()
	d.await(t, fmt.Sprint(want), func(d *device) bool { return slices.Equal(d.generations(), want) })
}

// authority issues certificates for hosts.
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	root []byte
	life time.Duration
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	root, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(root)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t: t, key: key, cert: cert, root: root, life: time.Hour}
}

// issue makes the identity of a host on its key, valid from now on.
func (a *authority) issue(host string, public any) *fleetv1.Identity {
	a.t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Truncate(time.Second), NotAfter: time.Now().Add(a.life),
		URIs: []*url.URL{{Scheme: "spiffe", Host: "test.example", Path: "/host/" + host}},
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &fleetv1.Identity{Host: host, CertificateChain: [][]byte{leaf}, TrustBundle: [][]byte{a.root}}
}

// dialer is a Dialer over memory. enrol and dial may be replaced.
type dialer struct {
	enrol func(key *uplink.Key) (*fleetv1.Identity, error)
	dial  func() (*grpc.ClientConn, error)
}

func (d *dialer) Enrol(_ context.Context, _ string, _ enrol.Token, key *uplink.Key) (*fleetv1.Identity, error) {
	return d.enrol(key)
}

func (d *dialer) Dial(context.Context, string, func() *uplink.Identity) (*grpc.ClientConn, error) {
	return d.dial()
}

// life is one life of an agent's process.
type life struct {
	t      *testing.T
	uplink *uplink.Uplink
	state  *uplink.State
	events chan datapath.Event
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// live starts an agent of the host on a state directory.
func live(t *testing.T, dir string, d uplink.Dialer, in uplink.Installer, options ...func(*uplink.Config)) *life {
	t.Helper()
	state, err := uplink.OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	l := &life{t: t, state: state, events: make(chan datapath.Event), done: make(chan struct{})}
	config := uplink.Config{
		Controllers: []string{"controller.test:7443"}, State: state, JoinToken: new(enrol.Token), Dialer: d, Installer: in,
		Events: l.events, Addresses: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("192.0.2.1")} },
		ESPPort: 4500, Version: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	for _, o := range options {
		o(&config)
	}
	if l.uplink, err = uplink.New(config); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go func() {
		defer close(l.done)
		l.err = l.uplink.Run(ctx)
	}()
	t.Cleanup(l.end)
	return l
}

// end ends the process; a test may do it before its own end.
func (l *life) end() {
	l.cancel()
	<-l.done
	_ = l.state.Close()
}

// await waits until the uplink stands as wished.
func (l *life) await(what string, ok func(uplink.Status) bool) {
	l.t.Helper()
	deadline := time.After(patience)
	for !ok(l.uplink.Status()) {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			l.t.Fatalf("waited in vain for %s: %+v", what, l.uplink.Status())
		}
	}
}

// result waits until the agent ends by itself.
func (l *life) result() error {
	l.t.Helper()
	select {
	case <-l.done:
		return l.err
	case <-time.After(patience):
		l.t.Fatal("the agent goes on")
		return nil
	}
}

// copyOf is a snapshot of what was installed, keys by id.
func (d *device) copyOf() map[datapath.SAID]string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.keys)
}
