package netio

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os/exec"
	"reflect"
	"strings"
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
	cmd := exec.Command(path, "--check", "-f", "-")
	cmd.Stdin = strings.NewReader(guardText(Config{}.withDefaults(), d))
	if out, err := cmd.CombinedOutput(); err != nil && !strings.Contains(string(out), "not permitted") {
		t.Errorf("nft: %v: %.2000s", err, out)
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var again Desired
	if err := json.Unmarshal(text, &again); err != nil || !again.Equal(d) {
		t.Errorf("saved and loaded: %v", err)
	}
}

// FuzzSavedPolicies: whatever is in guard.json, what becomes of it is no syntax to nft.
func FuzzSavedPolicies(f *testing.F) {
	f.Add([]byte(`{"policies":[{"action":"PROTECT","Local":["any4 tcp/22"],"Remote":["2001:db8::1","10.0.0.0/8"]}],"discard_rest":true}`))
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
	})
}
