package manual

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// host is a datapath and a network that note what is done, and check the order in which it is.
type host struct {
	t *testing.T

	mu       sync.Mutex // guards done and failures
	done     []string
	failures map[string]error // by the beginning of what is done

	guarded []netio.Policy
	pairs   map[datapath.PairID]string
	in, out map[datapath.SAID]datapath.SA
	highest map[string]uint32
	used    map[string]uint64
}

func newHost(t *testing.T) *host {
	return &host{t: t, pairs: make(map[datapath.PairID]string), in: make(map[datapath.SAID]datapath.SA), out: make(map[datapath.SAID]datapath.SA),
		highest: make(map[string]uint32), failures: make(map[string]error), used: make(map[string]uint64)}
}

func (h *host) note(format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	h.mu.Lock()
	defer h.mu.Unlock()
	for begin, err := range h.failures {
		if strings.HasPrefix(what, begin) {
			h.done = append(h.done, "failed: "+what)
			return err
		}
	}
	h.done = append(h.done, what)
	return nil
}

// fail makes what begins so fail, and nothing else.
func (h *host) fail(begin string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures = map[string]error{begin: err}
	if err == nil {
		clear(h.failures)
	}
}

func (h *host) Apply(_ context.Context, d netio.Desired) error {
	words := []string{"network"}
	for _, p := range d.Policies {
		words = append(words, h.name(p))
	}
	if d.DiscardRest {
		words = append(words, "default")
	}
	if err := h.note("%s", strings.Join(words, " ")); err != nil {
		return err
	}
	h.guarded = d.Policies
	return nil
}

// name is that of the policy in the tests: they are told apart by their remote side.
func (h *host) name(p netio.Policy) string {
	if p.Action == spd.Bypass {
		return "ssh"
	}
	return map[byte]string{1: "a", 2: "b", 3: "c"}[p.Remote[0].First.As4()[1]]
}

func (h *host) guards(p *datapath.Pair) bool {
	return slices.ContainsFunc(h.guarded, func(g netio.Policy) bool {
		return g.Action == spd.Protect && fmt.Sprint(g.Local, g.Remote) == fmt.Sprint(p.Local, p.Remote)
	})
}

func (h *host) SetRules(rules ...datapath.Rule) error {
	var words []string
	for _, r := range rules {
		words = append(words, fmt.Sprintf("%d:%v", r.Order, r.Bypass))
	}
	return h.note("rules %s", strings.Join(words, " "))
}

func (h *host) SetPairs(pairs ...datapath.Pair) error {
	var words []string
	for _, p := range pairs {
		words = append(words, fmt.Sprintf("%s:%d", p.Policy, p.Order))
		if !h.guards(&p) {
			h.t.Errorf("pair %s is not guarded", p.Policy)
		}
	}
	if err := h.note("pairs %s", strings.Join(words, " ")); err != nil {
		return err
	}
	for _, p := range pairs {
		h.pairs[p.ID] = p.Policy
	}
	return nil
}

func (h *host) RemovePair(id datapath.PairID) error {
	if h.pairs[id] == "" {
		return datapath.ErrNoPair
	}
	if err := h.note("remove pair %s", h.pairs[id]); err != nil {
		return err
	}
	for said, sa := range h.in {
		if sa.Pair == id {
			delete(h.in, said)
		}
	}
	delete(h.pairs, id)
	return nil
}

func (h *host) install(direction string, to map[datapath.SAID]datapath.SA, sa datapath.SA) error {
	name := h.pairs[sa.Pair]
	if err := h.note("%s %s %#x", direction, name, sa.SPI); err != nil {
		return err
	}
	half := direction + name
	if name == "" || sa.Generation <= h.highest[half] || len(sa.Key) == 0 || slices.Max(sa.Key) == 0 {
		h.t.Errorf("%s %q: generation %d after %d, key of %d bytes", direction, name, sa.Generation, h.highest[half], len(sa.Key))
	}
	if _, twice := to[sa.ID]; twice {
		h.t.Errorf("%v was there", sa)
	}
	h.highest[half] = sa.Generation
	sa.Key = slices.Clone(sa.Key)
	to[sa.ID] = sa
	return nil
}

func (h *host) InstallInbound(sa datapath.SA) error {
	for _, other := range h.in {
		if other.SPI == sa.SPI {
			h.t.Errorf("%v and %v have one SPI", sa, other)
		}
	}
	return h.install("in", h.in, sa)
}

func (h *host) InstallOutbound(sa datapath.SA) error {
	err := h.install("out", h.out, sa)
	if err == nil {
		if sa.Sequence < h.used[string(sa.Key)] || sa.Ceiling != sa.Sequence+Block {
			h.t.Errorf("%v begins at %d of %d, used up to %d", sa, sa.Sequence, sa.Ceiling, h.used[string(sa.Key)])
		}
		h.used[string(sa.Key)] = sa.Ceiling
	}
	return err
}

func (h *host) RemoveInbound(id datapath.SAID) error {
	sa, ok := h.in[id]
	if !ok {
		return datapath.ErrNoSA
	}
	delete(h.in, id)
	return h.note("remove in %s %#x", h.pairs[sa.Pair], sa.SPI)
}

func (h *host) RemoveOutbound(id datapath.SAID) error {
	sa, ok := h.out[id]
	if !ok {
		return datapath.ErrNoSA
	}
	delete(h.out, id)
	return h.note("remove out %s %#x", h.pairs[sa.Pair], sa.SPI)
}

func (h *host) RaiseCeiling(id datapath.SAID, n uint64) error {
	h.used[string(h.out[id].Key)] = n
	return nil
}

// did returns what was done since the last call.
func (h *host) did() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	done := strings.Join(h.done, "\n")
	h.done = nil
	return done
}

func newApplier(t *testing.T, h *host) *Applier {
	return NewApplier(Config{Datapath: h, Network: h, Reservations: openReservations(t, t.TempDir())})
}

// branch is a policy that protects: its SPIs and keys are made from seed.
func branch(name string, seed byte, more ...string) string {
	return fmt.Sprintf(`
- {name: %s, action: protect, local: [10.0.0.0/16], remote: [10.%d.0.0/16], proposal: aes128-sha256, remote-address: 192.0.2.%d,
   in: {spi: %d, key: %q}, out: {spi: %d, key: %q}%s}`, name, seed, seed, 0x1000+int(seed), key(seed, 48), 0x2000+int(seed), key(seed+100, 48), strings.Join(more, ""))
}

const ssh = "\n- {name: ssh, action: bypass, local: [any], remote: [any tcp/22]}"

func file(policies ...string) string {
	if len(policies) == 0 {
		return "default: discard\npolicies: []\n"
	}
	return "default: discard\npolicies:" + strings.Join(policies, "") + "\n"
}

func apply(t *testing.T, a *Applier, text string) {
	t.Helper()
	f := mustParse(t, text)
	if err := a.Apply(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Policies {
		if p.Protection != nil && (slices.Max(p.Protection.In.Keymat) != 0 || slices.Max(p.Protection.Out.Keymat) != 0) {
			t.Error("keys are not cleared")
		}
	}
}

func expect(t *testing.T, h *host, want ...string) {
	t.Helper()
	if got := h.did(); got != strings.Join(want, "\n") {
		t.Errorf("done:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func TestApply(t *testing.T) {
	h := newHost(t)
	a := newApplier(t, h)
	apply(t, a, file(ssh, branch("a", 1), branch("b", 2)))
	expect(t, h, "network ssh a b default", "rules 1:true", "pairs a:2 b:3", "rules 1:true",
		"in a 0x1001", "in b 0x1002", "out a 0x2001", "out b 0x2002", "network ssh a b default")

	// Nothing new: no SA is touched.
	apply(t, a, file(ssh, branch("a", 1), branch("b", 2)))
	expect(t, h, "network ssh a b default", "rules 1:true", "pairs a:2 b:3", "rules 1:true", "network ssh a b default")

	// a goes, c comes: a is guarded until it is gone.
	apply(t, a, file(branch("c", 3), branch("b", 2)))
	expect(t, h, "network a c b default", "rules 1:true", "pairs c:1 b:2", "rules ", "in c 0x1003", "out c 0x2003",
		"remove out a 0x2001", "remove in a 0x1001", "remove pair a", "network c b default")

	// a comes back with its old keys: another generation, other numbers.
	apply(t, a, file(branch("a", 1)))
	expect(t, h, "network c b a default", "rules ", "pairs a:1", "rules ", "in a 0x1001", "out a 0x2001",
		"remove out b 0x2002", "remove in b 0x1002", "remove pair b",
		"remove out c 0x2003", "remove in c 0x1003", "remove pair c", "network a default")

	apply(t, a, file())
	expect(t, h, "network a default", "rules ", "rules ", "remove out a 0x2001", "remove in a 0x1001", "remove pair a", "network default")
	if len(h.in)+len(h.out)+len(h.pairs) != 0 || len(a.keeper.held) != 0 {
		t.Errorf("%v %v %v are left", h.in, h.out, h.pairs)
	}
}

// New keys: the new inbound SA before the new outbound one, and the old inbound one stays for a while.
func TestApplyNewKeys(t *testing.T) {
	reservations := openReservations(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t)
		a := NewApplier(Config{Datapath: h, Network: h, Reservations: reservations})
		apply(t, a, file(branch("a", 1)))
		h.did()
		changed := strings.NewReplacer("10.9.0.0/16", "10.1.0.0/16", "192.0.2.9", "192.0.2.1").Replace(branch("a", 9))
		apply(t, a, file(changed))
		expect(t, h, "network a default", "rules ", "pairs a:1", "rules ", "in a 0x1009", "out a 0x2009", "remove out a 0x2001", "network a default")
		until, ok := a.Drained()
		if !ok || until != time.Now().Add(Drain) {
			t.Fatalf("drained at %v, %v", until, ok)
		}
		if err := a.Sweep(until.Add(-1)); err != nil || len(h.in) != 2 {
			t.Fatalf("too early: %v", err)
		}
		if err := a.Sweep(until); err != nil {
			t.Fatal(err)
		}
		expect(t, h, "remove in a 0x1001")
		if _, ok := a.Drained(); ok {
			t.Error("something is left to drain")
		}

		// Other parameters only: the SPI is the same, so the old SA cannot stay. The outbound SA is not touched.
		apply(t, a, file(strings.Replace(changed, "proposal:", "replay-window: 64, proposal:", 1)))
		expect(t, h, "network a default", "rules ", "pairs a:1", "rules ", "remove in a 0x1009", "in a 0x1009", "network a default")
		// Other parameters of the outbound SA only: the same key, and numbers that it never had.
		apply(t, a, file(strings.Replace(changed, "proposal:", "replay-window: 64, df: clear, proposal:", 1)))
		expect(t, h, "network a default", "rules ", "pairs a:1", "rules ", "out a 0x2009", "remove out a 0x2009", "network a default")
		// Another address: no SA is touched.
		apply(t, a, file(strings.NewReplacer("proposal:", "replay-window: 64, df: clear, proposal:", "192.0.2.1", "192.0.2.77").Replace(changed)))
		expect(t, h, "network a default", "rules ", "pairs a:1", "rules ", "network a default")

		// Back and forth while the old one drains.
		apply(t, a, file(branch("a", 1)))
		h.did()
		apply(t, a, file(changed))
		expect(t, h, "network a default", "rules ", "pairs a:1", "rules ", "remove in a 0x1009", "in a 0x1009", "out a 0x2009", "remove out a 0x2001", "network a default")
		// It goes while something drains.
		apply(t, a, file())
		if _, ok := a.Drained(); ok || len(h.in) != 0 {
			t.Errorf("%v left", h.in)
		}
	})
}

// An SPI moves from one policy to another one.
func TestApplySPIMoves(t *testing.T) {
	h := newHost(t)
	a := newApplier(t, h)
	apply(t, a, file(branch("a", 1), branch("b", 2)))
	swap := strings.NewReplacer("spi: 4097", "spi: 4098", "spi: 4098", "spi: 4097")
	apply(t, a, file(swap.Replace(branch("a", 1)), swap.Replace(branch("b", 2))))
	if len(h.in) != 2 {
		t.Errorf("%v", h.in)
	}
}

// A failure at each step: what was protected stays guarded, nothing is sent twice, and the next attempt ends well.
func TestApplyFails(t *testing.T) {
	broken := errors.New("broken")
	steps := []string{"network", "rules", "pairs", "in c", "in a", "out c", "out a", "remove out b", "remove in b", "remove pair b", "network c a default", "remove out a"}
	for _, step := range steps {
		h := newHost(t)
		a := newApplier(t, h)
		apply(t, a, file(ssh, branch("a", 1), branch("b", 2)))
		next := file(branch("c", 3), strings.NewReplacer("10.9.0.0/16", "10.1.0.0/16", "192.0.2.9", "192.0.2.1").Replace(branch("a", 9)))
		h.fail(step, broken)
		for range 3 {
			if err := a.Apply(t.Context(), mustParse(t, next)); !errors.Is(err, broken) && !strings.HasPrefix(step, "remove") {
				t.Fatalf("%s: %v", step, err)
			}
			for name, p := range map[string]string{"b": "10.2.0.0/16", "a": "10.1.0.0/16"} {
				sa := slices.ContainsFunc(collect(h.out), func(sa datapath.SA) bool { return h.pairs[sa.Pair] == name })
				guard := slices.ContainsFunc(h.guarded, func(g netio.Policy) bool { return g.Action == spd.Protect && strings.Contains(fmt.Sprint(g.Remote), p) })
				if sa && !guard {
					t.Errorf("%s: %s has an SA and is not guarded", step, name)
				}
			}
		}
		h.fail("", nil)
		h.did()
		apply(t, a, next)
		if !strings.HasSuffix(h.did(), "network c a default") || len(h.out) != 2 || len(h.pairs) != 2 {
			t.Errorf("%s: %v %v", step, h.out, h.pairs)
		}
		for key, ceiling := range h.used {
			if ceiling > Block {
				t.Errorf("%s: attempts that sent nothing have used up %d numbers of key %x", step, ceiling, key[:2])
			}
		}
	}
}

func collect(m map[datapath.SAID]datapath.SA) (all []datapath.SA) {
	for _, sa := range m {
		all = append(all, sa)
	}
	return all
}

// A key without numbers left: nothing changes, and the message says which policy.
func TestApplyExhausted(t *testing.T) {
	h := newHost(t)
	a := newApplier(t, h)
	apply(t, a, file(branch("a", 1)))
	h.did()
	f := mustParse(t, file(branch("a", 1), branch("b", 2)))
	a.config.Reservations.reserved[f.Policies[1].Protection.Out.Fingerprint] = lastESNSequence
	err := a.Apply(t.Context(), f)
	if !errors.Is(err, ErrExhausted) || !strings.Contains(err.Error(), `policy "b"`) {
		t.Error(err)
	}
	expect(t, h)
}

func TestTransition(t *testing.T) {
	policies := func(words string) (all []Policy) {
		for w := range strings.FieldsSeq(words) {
			p := Policy{Name: w, Action: spd.Bypass, Local: []spd.Selector{{Proto: w[0]}}}
			if w[0] >= 'A' && w[0] <= 'Z' {
				p.Action, p.Protection = spd.Protect, new(Protection)
			}
			all = append(all, p)
		}
		return all
	}
	for _, tt := range []struct{ old, now, want string }{
		{"", "a B", "a B"},
		{"a B", "", "B"},
		{"s B r", "s O r", "s B O r"},
		{"A B", "x", "A B x"},
		{"x A y B", "y x", "y B x A"},
		{"A", "A", "A"},
		{"x y", "z", "z"},
		{"s A B", "B s", "B s A"},
	} {
		var got []string
		for _, p := range transition(policies(tt.old), policies(tt.now)) {
			got = append(got, p.Name)
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("from %q to %q: %q, want %q", tt.old, tt.now, strings.Join(got, " "), tt.want)
		}
	}
}

func TestFollow(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "manual.yaml")
	save := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reservations := openReservations(t, dir)
	synctest.Test(t, func(t *testing.T) {
		h, log := newHost(t), new(text)
		a := NewApplier(Config{Datapath: h, Network: h, Reservations: reservations, Log: slog.New(slog.NewTextHandler(log, nil))})
		apply(t, a, file(branch("a", 1)))
		h.did()
		ctx, cancel := context.WithCancel(t.Context())
		reload, ended := make(chan os.Signal), make(chan error, 1)
		go func() { ended <- a.Follow(ctx, path, reload) }()
		again := func() {
			reload <- syscall.SIGHUP
			synctest.Wait()
		}

		again() // the file is missing
		save(file(branch("a", 9)) + "x: y\n")
		again()
		expect(t, h)
		if !strings.Contains(log.String(), "everything stays as it is") || !strings.Contains(log.String(), "unknown field") || !strings.Contains(log.String(), "manual.yaml:") {
			t.Error(log)
		}

		save(file(branch("a", 9)))
		h.fail("out", errors.New("busy"))
		again()
		h.fail("", nil)
		h.did()
		time.Sleep(tryAgain)
		synctest.Wait()
		if got := h.did(); !strings.Contains(got, "out a 0x2009") || strings.Contains(got, "in a 0x1009") {
			t.Errorf("the second attempt: %s", got)
		}
		time.Sleep(Drain)
		synctest.Wait()
		if len(h.in) != 1 {
			t.Errorf("%v do not drain", h.in)
		}
		h.did()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		expect(t, h)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
