package install

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/uplink"
)

// host keeps what it is told, in order.
type host struct {
	log     []string
	desired netio.Desired
	mtu     int
	fail    string // the call that fails
}

func (h *host) call(format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	h.log = append(h.log, line)
	if h.fail != "" && strings.HasPrefix(line, h.fail) {
		return errors.New("as wished")
	}
	return nil
}

func (h *host) Apply(_ context.Context, d netio.Desired) error {
	err := h.call("apply %v", d.Remote)
	if err == nil {
		h.desired = d
	}
	return err
}

func (h *host) Repair(context.Context) ([]string, error) {
	return []string{"guard"}, h.call("repair")
}

func (h *host) SetMTU(mtu int) error { h.mtu = mtu; return nil }

func (h *host) SetPairs(ps ...datapath.Pair) error { return h.call("set %d", len(ps)) }
func (h *host) RemovePair(datapath.PairID) error   { return h.call("remove") }
func (h *host) InstallInbound(datapath.SA) error   { return nil }
func (h *host) InstallOutbound(datapath.SA) error  { return nil }
func (h *host) RemoveInbound(datapath.SAID) error  { return nil }
func (h *host) RemoveOutbound(datapath.SAID) error { return nil }
func (h *host) takeLog() []string                  { l := h.log; h.log = nil; return l }
func prefix(s string) netip.Prefix                 { return netip.MustParsePrefix(s) }
func pair(n byte, remotes ...string) datapath.Pair {
	p := datapath.Pair{ID: datapath.PairID{n}, RemoteHost: fmt.Sprintf("web-%d", n)}
	for _, r := range remotes {
		p.Remote = append(p.Remote, datapath.PrefixSelector(prefix(r)))
	}
	return p
}

func newInstaller(t *testing.T, saved netio.Desired) (*host, *Installer) {
	t.Helper()
	h := &host{}
	i, err := New(t.Context(), Config{Datapath: h, Network: h, Saved: saved})
	if err != nil {
		t.Fatal(err)
	}
	return h, i
}

func check(t *testing.T, h *host, want ...string) {
	t.Helper()
	if got := h.takeLog(); !slices.Equal(got, want) {
		t.Errorf("calls\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestGuardGrowsFirstAndShrinksLast(t *testing.T) {
	h, i := newInstaller(t, netio.Desired{})
	if err := i.SetPairs(pair(1, "10.1.0.0/24")); err != nil {
		t.Fatal(err)
	}
	check(t, h, "apply [10.1.0.0/24]", "set 1")
	if err := i.SetPairs(pair(1, "10.2.0.0/24")); err != nil {
		t.Fatal(err)
	}
	check(t, h, "apply [10.1.0.0/24 10.2.0.0/24]", "set 1", "apply [10.2.0.0/24]")
	if err := i.SetPairs(pair(1, "10.2.0.0/24")); err != nil {
		t.Fatal(err)
	}
	check(t, h, "set 1") // nothing for the system
	if err := i.RemovePair(datapath.PairID{1}); err != nil {
		t.Fatal(err)
	}
	check(t, h, "remove")
	if err := i.Synced(); err != nil {
		t.Fatal(err)
	}
	check(t, h, "apply []")
}

func TestFailuresLeaveTheGuardWide(t *testing.T) {
	h, i := newInstaller(t, netio.Desired{})
	if err := i.SetPairs(pair(1, "10.1.0.0/24")); err != nil {
		t.Fatal(err)
	}
	h.takeLog()
	h.fail = "apply"
	if err := i.SetPairs(pair(2, "10.2.0.0/24")); err == nil {
		t.Error("a guard that could not be set is no error")
	}
	if slices.Contains(h.takeLog(), "set 1") {
		t.Error("the pair was set without its guard")
	}
	h.fail = "set"
	if err := i.SetPairs(pair(1, "10.3.0.0/24")); err == nil {
		t.Error("a pair that could not be set is no error")
	}
	h.fail = ""
	if err := i.Synced(); err != nil {
		t.Fatal(err)
	}
	if want := []netip.Prefix{prefix("10.1.0.0/24")}; !slices.Equal(h.desired.Remote, want) {
		t.Errorf("guarded %v, want what was there before, %v", h.desired.Remote, want)
	}
	h.fail = "remove"
	if err := i.RemovePair(datapath.PairID{1}); err == nil || len(h.desired.Remote) != 1 {
		t.Errorf("a pair that is still there is guarded: %v, %v", h.desired.Remote, err)
	}
}

func TestLastLifeIsGuardedUntilSynced(t *testing.T) {
	saved := netio.Desired{
		Addresses: []netip.Addr{netip.MustParseAddr("100.64.0.1")}, Pools: []netip.Prefix{prefix("100.64.0.0/16")},
		Remote: []netip.Prefix{prefix("10.1.0.0/24"), prefix("10.2.0.0/24")},
		Uplink: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:7443")},
	}
	h, i := newInstaller(t, saved)
	if err := i.Start(); err != nil {
		t.Fatal(err)
	}
	if !h.desired.Equal(saved) {
		t.Errorf("started with %+v", h.desired)
	}
	h.takeLog()
	c := uplink.HostConfig{Addresses: saved.Addresses, Pools: saved.Pools, MTU: 1300}
	if err := errors.Join(i.Configure(c), i.SetPairs(pair(2, "10.2.0.0/24"))); err != nil {
		t.Fatal(err)
	}
	check(t, h, "set 1")
	if err := i.Synced(); err != nil {
		t.Fatal(err)
	}
	check(t, h, "apply [10.2.0.0/24]")
	if err := i.Synced(); err != nil {
		t.Fatal(err)
	}
	check(t, h)
	if h.mtu != 1300 {
		t.Errorf("MTU %d", h.mtu)
	}
}

func TestAFailureIsTriedAgain(t *testing.T) {
	h, i := newInstaller(t, netio.Desired{})
	h.fail = "apply"
	c := uplink.HostConfig{Addresses: []netip.Addr{netip.MustParseAddr("100.64.0.1")}}
	if err := i.Configure(c); err == nil {
		t.Fatal("no error")
	}
	if len(i.Addresses()) != 0 {
		t.Error("a configuration that failed is kept")
	}
	h.fail = ""
	if err := i.Configure(c); err != nil || len(h.desired.Addresses) != 1 {
		t.Errorf("%+v, %v", h.desired, err)
	}
}

func TestRepairTriesAgainWhatFailed(t *testing.T) {
	h, i := newInstaller(t, netio.Desired{})
	h.fail = "apply"
	if err := i.SetPairs(pair(1, "10.1.0.0/24")); err == nil {
		t.Fatal("no error")
	}
	h.fail = ""
	h.takeLog()
	if what, err := i.Repair(); err != nil {
		t.Errorf("%v, %v", what, err)
	}
	check(t, h, "apply []", "repair")
	if what, err := i.Repair(); err != nil || !slices.Equal(what, []string{"guard"}) {
		t.Errorf("%v, %v", what, err)
	}
	check(t, h, "repair")
}

func TestRangePrefixes(t *testing.T) {
	for _, c := range []struct{ first, last, want string }{
		{"10.0.0.1", "10.0.0.1", "10.0.0.1/32"},
		{"10.0.0.0", "10.0.0.255", "10.0.0.0/24"},
		{"0.0.0.0", "255.255.255.255", "0.0.0.0/0"},
		{"10.0.0.1", "10.0.0.6", "10.0.0.1/32 10.0.0.2/31 10.0.0.4/31 10.0.0.6/32"},
		{"255.255.255.254", "255.255.255.255", "255.255.255.254/31"},
		{"fd00::", "fd00::ffff", "fd00::/112"},
		{"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"},
	} {
		got := strings.Trim(fmt.Sprint(rangePrefixes(netip.MustParseAddr(c.first), netip.MustParseAddr(c.last))), "[]")
		if got != c.want {
			t.Errorf("%s to %s: %s, want %s", c.first, c.last, got, c.want)
		}
	}
	if n := len(rangePrefixes(netip.MustParseAddr("::1"), netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"))); n != 254 {
		t.Errorf("the worst range takes %d prefixes", n)
	}
	if got := rangePrefixes(netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.1")); got != nil {
		t.Errorf("backwards: %v", got)
	}
}

// TestOrderedPairsBecomePolicies: what has a place in the SPD, and what is shared with foreign ends, is told by all
// selectors, in order, and guarded like the rest while it changes.
func TestOrderedPairsBecomePolicies(t *testing.T) {
	ordered := func(n byte, order uint32, remote string) datapath.Pair {
		p := pair(n, remote)
		p.Local, p.Order = []datapath.Selector{datapath.PrefixSelector(prefix("10.0.0.0/24"))}, order
		p.Path.Foreign = order == 0
		return p
	}
	remotes := func(h *host) (out []string) {
		for _, p := range h.desired.Policies {
			out = append(out, p.Remote[0].String())
		}
		return out
	}
	h, i := newInstaller(t, netio.Desired{Policies: []netio.Policy{guardedBy(ordered(9, 1, "10.9.0.0/24")).policies[0].Policy}})
	if err := i.SetPairs(ordered(1, 0, "10.1.0.0/24"), ordered(2, 20, "10.2.0.0/24"), ordered(3, 10, "10.3.0.0/24"), pair(4, "10.4.0.0/24")); err != nil {
		t.Fatal(err)
	}
	if got, want := remotes(h), []string{"10.9.0.0/24", "10.3.0.0/24", "10.2.0.0/24", "10.1.0.0/24"}; !slices.Equal(got, want) {
		t.Errorf("policies %v, want %v", got, want)
	}
	if !slices.Equal(h.desired.Remote, []netip.Prefix{prefix("10.4.0.0/24")}) {
		t.Errorf("routes %v", h.desired.Remote)
	}
	if err := i.Synced(); err != nil {
		t.Fatal(err)
	}
	h.fail = "set"
	if err := i.SetPairs(ordered(2, 20, "10.5.0.0/24")); err == nil {
		t.Error("no error")
	}
	h.fail = ""
	if got, want := remotes(h), []string{"10.3.0.0/24", "10.2.0.0/24", "10.1.0.0/24"}; !slices.Equal(got, want) {
		t.Errorf("after a failure %v, want %v", got, want)
	}
	if err := i.RemovePair(datapath.PairID{3}); err != nil {
		t.Fatal(err)
	}
	if err := i.Synced(); err != nil {
		t.Fatal(err)
	}
	if got, want := remotes(h), []string{"10.2.0.0/24", "10.1.0.0/24"}; !slices.Equal(got, want) {
		t.Errorf("in the end %v, want %v", got, want)
	}
}
