package netio

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func pp(ss ...string) (out []netip.Prefix) {
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func gateway() Desired {
	return Desired{
		Addresses: []netip.Addr{netip.MustParseAddr("fd99::1"), netip.MustParseAddr("10.99.0.1")},
		Pools:     pp("10.99.0.0/16", "fd99::/64"),
		Subnets:   pp("192.168.5.0/24"),
		Remote:    pp("192.168.6.77/24", "10.99.0.2/32", "fd99::2/128", "192.168.6.128/25", "192.168.6.0/24", "192.168.5.128/25"),
		Uplink:    []netip.AddrPort{netip.MustParseAddrPort("192.0.2.10:7443"), netip.MustParseAddrPort("[2001:db8::10]:7443")},
	}
}

// TestGuardText compares with testdata/guard.nft, which a person should read when it changes.
func TestGuardText(t *testing.T) {
	d, err := gateway().normal()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "guard.nft", guardText(Config{}.withDefaults(), d))
}

// golden compares with a file in testdata, which UPDATE_GOLDEN writes.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is now (UPDATE_GOLDEN=1 writes it)\n%s", name, got)
	}
}

func TestGuardTextWithoutIPv6OrSubnets(t *testing.T) {
	d, err := Desired{Addresses: []netip.Addr{netip.MustParseAddr("10.99.0.1")}, Pools: pp("10.99.0.0/16")}.normal()
	if err != nil {
		t.Fatal(err)
	}
	text := guardText(Config{}.withDefaults(), d)
	if strings.Contains(text, "{  }") || strings.Contains(text, "ip6 saddr {  }") || strings.Contains(text, "ip6 daddr") {
		t.Errorf("empty sets:\n%s", text)
	}
	if !strings.Contains(text, `ip daddr { 10.99.0.0/16 } counter name clear_out drop`) {
		t.Errorf("the pool is not guarded:\n%s", text)
	}
}

func TestOnlyIPv4(t *testing.T) {
	d, err := gateway().normal()
	if err != nil {
		t.Fatal(err)
	}
	got := d.onlyIPv4()
	if text := fmt.Sprint(got); strings.Contains(text, "fd99") || strings.Contains(text, "2001") || !strings.Contains(text, "192.0.2.10:7443") ||
		!strings.Contains(text, "[10.99.0.1] [10.99.0.0/16] [192.168.5.0/24] [10.99.0.2/32") {
		t.Errorf("got %s", text)
	}
	if len(d.Addresses) != 2 || len(d.Uplink) != 2 {
		t.Error("the original has changed")
	}
}

func TestDesiredIsChecked(t *testing.T) {
	for name, spoil := range map[string]func(*Desired){
		"two addresses":    func(d *Desired) { d.Addresses = append(d.Addresses, netip.MustParseAddr("10.99.0.3")) },
		"no address":       func(d *Desired) { d.Addresses[0] = netip.Addr{} },
		"multicast":        func(d *Desired) { d.Addresses[0] = netip.MustParseAddr("ff02::1") },
		"zone":             func(d *Desired) { d.Addresses[0] = netip.MustParseAddr("fe80::1%eth0") },
		"invalid pool":     func(d *Desired) { d.Pools[0] = netip.Prefix{} },
		"4in6 remote":      func(d *Desired) { d.Remote[0] = netip.PrefixFrom(netip.MustParseAddr("::ffff:10.0.0.0"), 104) },
		"invalid subnet":   func(d *Desired) { d.Subnets[0] = netip.PrefixFrom(netip.MustParseAddr("10.0.0.0"), 33) },
		"uplink, no port":  func(d *Desired) { d.Uplink[0] = netip.MustParseAddrPort("192.0.2.10:0") },
		"uplink, no value": func(d *Desired) { d.Uplink[0] = netip.AddrPort{} },
	} {
		d := gateway()
		spoil(&d)
		if _, err := d.normal(); !errors.Is(err, ErrDesired) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{
		{TUNName: "sally0; drop"}, {TUNName: "sixteen-letters0"}, {TUNName: `a"b`}, {NFTable: "a b"}, {NFTable: "0a"}, {NFTable: "a\n"},
		{Table: 254}, {Table: -1}, {Preference: 32766}, {Preference: -5},
	} {
		if _, err := NewNetwork(c); err == nil || strings.Contains(err.Error(), "state directory") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := NewNetwork(Config{}); err == nil || !strings.Contains(err.Error(), "state directory") {
		t.Errorf("without a state directory: %v", err)
	}
}

func TestWantedRoutes(t *testing.T) {
	d, err := gateway().normal()
	if err != nil {
		t.Fatal(err)
	}
	v4, v6 := netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("fd99::1")
	one := func(s string, kind routeKind, src netip.Addr) route {
		return route{dst: netip.MustParsePrefix(s), kind: kind, src: src}
	}
	want := []route{
		one("10.99.0.0/16", unreachable, netip.Addr{}), one("fd99::/64", unreachable, netip.Addr{}),
		one("192.168.5.0/24", throw, netip.Addr{}),
		one("10.99.0.2/32", toTUN, v4), one("192.168.5.128/25", toTUN, v4), one("192.168.6.0/24", toTUN, v4),
		one("192.168.6.128/25", toTUN, v4), one("fd99::2/128", toTUN, v6),
	}
	if got := wantedRoutes(d); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	d.Remote = append(d.Remote, d.Pools[0], d.Subnets[0])
	for _, r := range wantedRoutes(d) {
		if (r.dst == d.Pools[0] || r.dst == d.Subnets[0]) && r.kind != toTUN {
			t.Errorf("%v is %v although it is remote", r.dst, r.kind)
		}
	}
}

func TestDifference(t *testing.T) {
	add, remove := difference([]int{1, 2, 3}, []int{3, 4, 1, 5})
	if !slices.Equal(add, []int{2}) || !slices.Equal(remove, []int{4, 5}) {
		t.Errorf("add %v, remove %v", add, remove)
	}
}

func TestStateRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	if s, err := loadState(dir); s != nil || err != nil {
		t.Fatalf("nothing saved: %v, %v", s, err)
	}
	if err := RestoreGuard(t.Context(), dir); err != nil {
		t.Errorf("nothing to restore: %v", err)
	}
	d, err := gateway().normal()
	if err != nil {
		t.Fatal(err)
	}
	c := Config{TUNName: "sally7", Port: 4501, Mark: 7, ProtectMark: 9, Table: 77, Preference: 78, NFTable: "seven", StateDir: dir}
	if err := newState(c, d, "0").save(dir); err != nil {
		t.Fatal(err)
	}
	s, err := loadState(dir)
	if err != nil || s.config(dir) != c || s.SrcValidMark != "0" || guardText(c, s.Desired) != guardText(c, d) {
		t.Fatalf("saved and loaded: %+v, %v", s, err)
	}
	path := filepath.Join(dir, stateFile)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("files left: %v", files)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"cut":           string(text[:len(text)/2]),
		"unknown field": strings.Replace(string(text), `"port"`, `"prot"`, 1),
		"nft syntax":    strings.Replace(string(text), "sally7", `x\" } accept #`, 1),
		"bad prefix":    strings.Replace(string(text), "192.168.5.0/24", "192.168.5.0/99", 1),
		"table main":    strings.Replace(string(text), "77", "254", 1),
	} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := RestoreGuard(t.Context(), dir); err == nil {
			t.Errorf("%s: restored", name)
		}
	}
}

func TestParseCounter(t *testing.T) {
	whole := []byte{1, 0, 0, 0, // nfgenmsg
		13, 0, 2, 0, 'c', 'l', 'e', 'a', 'r', '_', 'i', 'n', 0, 0, 0, 0, // name
		28, 0, 4, 0x80, // data
		12, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 9, // bytes
		12, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 3} // packets
	if name, packets, err := parseCounter(whole); name != "clear_in" || packets != 259 || err != nil {
		t.Errorf("%q, %d, %v", name, packets, err)
	}
	for n := range whole {
		if name, packets, err := parseCounter(whole[:n]); err == nil {
			t.Errorf("%d bytes: %q, %d", n, name, packets)
		}
	}
}

func TestUnderlayAddress(t *testing.T) {
	for _, c := range []struct {
		addr  string
		flags int
		want  bool
	}{
		{"192.0.2.1/24", unix.IFA_F_PERMANENT, true},
		{"10.0.0.1/8", unix.IFA_F_PERMANENT, true},
		{"2001:db8::1/64", 0, true},
		{"10.99.0.1/32", 0, false}, // in the pool
		{"fd99::1/64", 0, false},
		{"fe80::1/64", 0, false},
		{"127.0.0.1/8", 0, false},
		{"169.254.1.1/16", 0, false},
		{"2001:db8::2/64", unix.IFA_F_TENTATIVE, false},
		{"2001:db8::3/64", unix.IFA_F_DEPRECATED, false},
		{"2001:db8::4/64", unix.IFA_F_TEMPORARY, false},
		{"192.0.2.2/24", unix.IFA_F_SECONDARY, true}, // the same bit
	} {
		a, err := netlink.ParseAddr(c.addr)
		if err != nil {
			t.Fatal(err)
		}
		a.Flags = c.flags
		if got, ok := underlayAddress(*a, pp("10.99.0.0/16", "fd99::/64")); ok != c.want || ok && got.String() != strings.Split(c.addr, "/")[0] {
			t.Errorf("%s flags %#x: %v, %v", c.addr, c.flags, got, ok)
		}
	}
}

func TestBootTimeMoves(t *testing.T) {
	a := BootTime()
	for BootTime() == a {
	}
	if a <= 0 || BootTime() < a {
		t.Errorf("boot time %v", a)
	}
}
