package netio

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sallyport.dev/sallyport/services/protocol/spd"
)

func sel(t testing.TB, texts ...string) (out []spd.Selector) {
	t.Helper()
	for _, text := range texts {
		s, err := spd.ParseSelectors(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s...)
	}
	return out
}

func TestPolicyRules(t *testing.T) {
	for _, c := range []struct {
		local, remote string
		leaving       []string
		fragments     int
	}{
		{"10.1.0.0/16", "10.2.0.0/16", []string{"ip saddr { 10.1.0.0-10.1.255.255 } ip daddr { 10.2.0.0-10.2.255.255 } "}, 0},
		{"any", "any", []string{"meta nfproto ipv4 meta nfproto ipv4 ", "meta nfproto ipv6 meta nfproto ipv6 "}, 0},
		{"any4", "192.0.2.1 tcp/443", []string{"meta nfproto ipv4 ip daddr { 192.0.2.1 } meta l4proto 6 th dport 443-443 "}, 1},
		{"any4 tcp/22", "any4 tcp", []string{"meta nfproto ipv4 meta nfproto ipv4 meta l4proto 6 th sport 22-22 "}, 1},
		{"any4 icmp/8", "any4 icmp", []string{"meta nfproto ipv4 meta nfproto ipv4 meta l4proto 1 @th,0,16 2048-2303 "}, 1},
		{"any6", "any6 icmpv6/128/0", []string{"meta nfproto ipv6 meta nfproto ipv6 meta l4proto 58 @th,0,16 32768-32768 "}, 1},
		{"any4 47", "any4", []string{"meta nfproto ipv4 meta nfproto ipv4 meta l4proto 47 "}, 0},
		{"any4 tcp", "any4 udp", nil, 0},
		{"any4", "any6", nil, 0},
		{"any4 udp/opaque", "any4", []string{"meta nfproto ipv4 meta nfproto ipv4 meta l4proto 17 ip frag-off & 0x1fff != 0 "}, 1},
	} {
		p := Policy{Action: spd.Protect, Local: sel(t, c.local), Remote: sel(t, c.remote)}
		if got := p.rules(leaving); !reflect.DeepEqual(got, c.leaving) {
			t.Errorf("%s - %s: %q, want %q", c.local, c.remote, got, c.leaving)
		}
		if got := p.fragments(leaving); len(got) != c.fragments {
			t.Errorf("%s - %s: fragments %q", c.local, c.remote, got)
		}
	}
	p := Policy{Action: spd.Protect, Local: sel(t, "10.1.0.0/16 tcp/22"), Remote: sel(t, "10.2.0.0/16")}
	if got := p.rules(arriving); len(got) != 1 || got[0] != "ip daddr { 10.1.0.0-10.1.255.255 } ip saddr { 10.2.0.0-10.2.255.255 } meta l4proto 6 th dport 22-22 " {
		t.Errorf("arriving: %q", got)
	}
}

func TestOverlappingSelectorsAreMerged(t *testing.T) {
	p := Policy{Action: spd.Protect, Local: sel(t, "10.1.0.0/16", "10.1.2.0/24", "10.0.0.0-10.1.0.5", "10.9.0.1"), Remote: sel(t, "any4")}
	want := "ip saddr { 10.0.0.0-10.1.255.255, 10.9.0.1 } meta nfproto ipv4 "
	if got := p.rules(leaving); len(got) != 1 || got[0] != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestBadPolicies(t *testing.T) {
	good := Policy{Action: spd.Protect, Local: sel(t, "any"), Remote: sel(t, "any")}
	for name, p := range map[string]Policy{
		"no local":    {Action: spd.Protect, Remote: good.Remote},
		"no remote":   {Action: spd.Protect, Local: good.Local},
		"action":      {Action: 9, Local: good.Local, Remote: good.Remote},
		"selector":    {Local: []spd.Selector{{First: netip.MustParseAddr("10.0.0.2"), Last: netip.MustParseAddr("10.0.0.1")}}, Remote: good.Remote},
		"many":        {Local: make([]spd.Selector, 256), Remote: good.Remote},
		"with a zone": {Local: []spd.Selector{{First: netip.MustParseAddr("fe80::1%eth0"), Last: netip.MustParseAddr("fe80::1%eth0"), Ports: spd.AnyPorts()}}, Remote: good.Remote},
	} {
		if _, err := (Desired{Policies: []Policy{p}}).normal(); !errors.Is(err, ErrDesired) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (Desired{Policies: make([]Policy, maxPolicies+1)}).normal(); !errors.Is(err, ErrDesired) {
		t.Errorf("too many: %v", err)
	}
}

// TestRulesAreBounded: few selectors can mean many rules.
func TestRulesAreBounded(t *testing.T) {
	ported := func(address string, n int) (out []spd.Selector) {
		s := sel(t, address)[0]
		for i := range n {
			s.Proto, s.Ports = 6, spd.Ports{First: uint16(i), Last: uint16(i)}
			out = append(out, s)
		}
		return out
	}
	addresses := func(n int) (out []spd.Selector) {
		a := netip.MustParseAddr("10.0.0.1")
		for range n {
			out = append(out, spd.Prefix(netip.PrefixFrom(a, 32)))
			a = a.Next().Next()
		}
		return out
	}
	simple := Policy{Action: spd.Protect, Local: sel(t, "10.0.0.0/8"), Remote: sel(t, "10.0.0.0/8", "2001:db8::/32")}
	for name, c := range map[string]struct {
		policies []Policy
		ok       bool
	}{
		"ports on both sides":           {[]Policy{{Action: spd.Protect, Local: ported("10.0.0.1", 255), Remote: ported("10.0.0.2", 255)}}, false},
		"ports on one side":             {[]Policy{{Action: spd.Protect, Local: ported("10.0.0.1", 255), Remote: sel(t, "any")}}, true},
		"addresses":                     {[]Policy{{Action: spd.Protect, Local: addresses(255), Remote: addresses(255)}}, true},
		"addresses with ports":          {[]Policy{{Action: spd.Protect, Local: addresses(255), Remote: ported("10.0.0.2", 255)}}, true},
		"as many policies as there may": {slices.Repeat([]Policy{simple}, maxPolicies), true},
		"a little of everything":        {slices.Repeat([]Policy{{Action: spd.Protect, Local: ported("10.0.0.1", 20), Remote: ported("10.0.0.2", 20)}}, 100), false},
	} {
		if _, err := (Desired{Policies: c.policies}).normal(); c.ok != (err == nil) || err != nil && !errors.Is(err, ErrDesired) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPolicyText is what is loaded for a few policies alone: testdata/policies.nft.
func TestPolicyText(t *testing.T) {
	d := Desired{DiscardRest: true, Uplink: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.10:7443"), netip.MustParseAddrPort("[2001:db8::10]:7443")}}
	d.Policies = []Policy{
		{Action: spd.Bypass, Local: sel(t, "any4 tcp/22"), Remote: sel(t, "198.51.100.0/24")},
		{Action: spd.Discard, Local: sel(t, "any"), Remote: sel(t, "any udp/5353")},
		{Action: spd.Protect, Local: sel(t, "192.0.2.1"), Remote: sel(t, "192.0.2.2-192.0.2.9", "198.51.100.7")},
	}
	d, err := d.normal()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "policies.nft", guardText(Config{}.withDefaults(), d))
	d.Policies, d.DiscardRest = nil, false
	for _, absent := range []string{"classify", "emerged", "0x5a12", "@th,288"} {
		if text := guardText(Config{}.withDefaults(), d); strings.Contains(text, absent) {
			t.Errorf("without policies there is %q", absent)
		}
	}
}

// TestSavedBeforePolicies: a guard.json of an agent that knew none.
func TestSavedBeforePolicies(t *testing.T) {
	dir := t.TempDir()
	old := `{"tun":"sally0","port":4500,"mark":7,"table":5350,"preference":5350,"nft_table":"sallyport",
		"desired":{"addresses":["10.99.0.1"],"pools":["10.99.0.0/16"],"subnets":null,"remote":["10.99.0.2/32"],"uplink":null}}`
	if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := loadState(dir)
	if err != nil || s.ProtectMark != 8 || s.Desired.policed() || len(s.Desired.Remote) != 1 {
		t.Errorf("loaded %+v, %v", s, err)
	}
	for _, bad := range []string{`"protect_mark":7,`, `"policies":[{"action":"PROTECT"}],`, `"mark":4294967295,`} {
		text := strings.Replace(old, `"mark":7,`, `"mark":7,`+bad, 1)
		if strings.Contains(bad, "policies") {
			text = strings.Replace(old, `"desired":{`, `"desired":{`+bad, 1)
		}
		if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadState(dir); err == nil {
			t.Errorf("with %s: loaded", bad)
		}
	}
}

// TestNFTTakesEveryPolicy: nft reads what is generated, for selectors of every kind.
func TestNFTTakesEveryPolicy(t *testing.T) {
	path, err := nftPath()
	if err != nil {
		t.Skip(err)
	}
	var policies []Policy
	sides := []string{"any", "10.1.0.0/16", "192.0.2.1-192.0.2.9 udp/1000-2000", "2001:db8::/32 icmpv6/128/0", "any4 icmp/3", "any6 sctp/opaque", "any4 47", "any6 tcp"}
	for _, l := range sides {
		for _, r := range sides {
			for _, a := range []spd.Action{spd.Discard, spd.Bypass, spd.Protect} {
				policies = append(policies, Policy{Action: a, Local: sel(t, l, "any4 89"), Remote: sel(t, r)})
			}
		}
	}
	d, err := Desired{Policies: policies, DiscardRest: true}.normal()
	if err != nil {
		t.Fatal(err)
	}
	checkText(t, path, guardText(Config{}.withDefaults(), d))
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var again Desired
	if err := json.Unmarshal(text, &again); err != nil || !again.Equal(d) {
		t.Errorf("saved and loaded: %v", err)
	}
}

// checkText has nft read a script, and load nothing.
func checkText(t *testing.T, nft, text string) {
	t.Helper()
	cmd := exec.Command(nft, "--check", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(string(out), "not permitted") {
		t.Errorf("nft: %v: %.2000s", err, out)
	}
}

// FuzzSavedPolicies: whatever is in guard.json, what becomes of it is no syntax to nft, and nft takes it. It is asked
// for one text in a hundred: each takes a process.
func FuzzSavedPolicies(f *testing.F) {
	f.Add([]byte(`{"policies":[{"action":"PROTECT","Local":["any4 tcp/22"],"Remote":["2001:db8::1","10.0.0.0/8"]}],"discard_rest":true}`))
	f.Add([]byte(`{"addresses":["10.9.0.1","fd09::1"],"uplink":["192.0.2.1:443","[2001:db8::1]:443"],"policies":[{"action":"DISCARD","Local":["any udp/opaque","10.0.0.0-10.0.0.9 icmp/3/1"],"Remote":["any"]},{"action":"BYPASS","Local":["any6 58"],"Remote":["::/0 any/1-2"]}]}`))
	nft, err := nftPath()
	if err != nil {
		f.Skip(err)
	}
	var texts atomic.Int64
	f.Fuzz(func(t *testing.T, text []byte) {
		var d Desired
		if json.Unmarshal(text, &d) != nil {
			return
		}
		d, err := d.normal()
		if err != nil {
			return
		}
		for _, p := range d.Policies {
			for _, rule := range append(append(p.rules(leaving), p.rules(arriving)...), p.fragments(leaving)...) {
				if strings.ContainsAny(rule, ";\n\"#\\") {
					t.Errorf("rule %q", rule)
				}
			}
		}
		if n := texts.Add(1); n <= 2 || n%100 == 0 {
			checkText(t, nft, guardText(Config{}.withDefaults(), d))
		}
	})
}
