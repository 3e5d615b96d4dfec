package spec

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/operator/ipam"
)

// TestSubnetsAgreeWithBruteForce compares the index with a look at every prefix.
func TestSubnetsAgreeWithBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	random := func() netip.Prefix {
		a := netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(8)), 0})
		if r.IntN(4) == 0 {
			a = netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 3: byte(r.IntN(4)), 5: byte(r.IntN(8))})
			return netip.PrefixFrom(a, 24+r.IntN(25)).Masked()
		}
		return netip.PrefixFrom(a, 8+r.IntN(25)).Masked()
	}
	for range 200 {
		hosts, index := map[string][]netip.Prefix{}, &Subnets{}
		for range 30 {
			p, host := random(), fmt.Sprintf("h%d", r.IntN(5))
			for _, except := range []string{"", host} {
				want := map[string]bool{}
				for owner, prefixes := range hosts {
					if owner != except && slices.ContainsFunc(prefixes, p.Overlaps) {
						want[owner] = true
					}
				}
				other, owner, found := index.Overlap(p, except)
				if found != (len(want) > 0) || found && (!want[owner] || !other.Overlaps(p)) {
					t.Fatalf("%s without %q in %v: found %t %s %s, want %v", p, except, hosts, found, other, owner, want)
				}
			}
			if _, _, found := index.Overlap(p, ""); !found {
				hosts[host] = append(hosts[host], p)
				index.Add(host, []netip.Prefix{p})
			}
		}
		if fresh := NewSubnets(hosts); !slices.Equal(fresh.entries, index.entries) {
			t.Fatalf("made at once: %v, one by one: %v", fresh.entries, index.entries)
		}
		index.RemoveAll(func(host string) bool { return host == "h0" })
		if slices.ContainsFunc(index.entries, func(e subnetOwner) bool { return e.host == "h0" }) {
			t.Fatal("a removed host still has subnets")
		}
	}
}

func TestNewSubnetsKeepsOutOverlaps(t *testing.T) {
	p := netip.MustParsePrefix
	s := NewSubnets(map[string][]netip.Prefix{"a": {p("10.0.0.0/8"), p("10.1.0.0/16")}, "b": {p("10.2.0.0/16"), p("11.0.0.0/8")}})
	want := []subnetOwner{{p("10.0.0.0/8"), "a"}, {p("11.0.0.0/8"), "b"}}
	if !slices.Equal(s.entries, want) {
		t.Errorf("entries %v, want %v", s.entries, want)
	}
}

func TestParseSubnet(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"192.168.1.0/24", ""}, {"2001:db8::/32", ""}, {"10.0.0.1/32", ""}, {"fd00::/8", ""},
		{"", "CIDR"}, {"10.0.0.0", "CIDR"}, {"10.0.0.0/33", "CIDR"}, {"010.0.0.0/8", "CIDR"}, {"fe80::%eth0/64", "CIDR"},
		{"10.0.0.0/08", "CIDR"}, {"::/0", "default route"}, {"10.0.0.1/24", "host bits"}, {"2001:db8::1/32", "2001:db8::/32"},
		{"2001:0db8::/32", "canonical"}, {"169.254.1.0/24", "link-local"}, {"0.0.0.0/1", "this network"}, {"::/1", "unspecified"},
		{"::1/128", "loopback"}, {"255.255.255.255/32", "broadcast"}, {"224.0.0.0/24", "multicast"}, {strings.Repeat("x", 500), "…"},
	} {
		_, text := ParseSubnet(tt.in)
		if (text == "") != (tt.want == "") || !strings.Contains(text, tt.want) {
			t.Errorf("%q: %q, want it to say %q", tt.in, text, tt.want)
		}
		if len(text) > 256 {
			t.Errorf("%q: the text has %d bytes", tt.in[:10], len(text))
		}
	}
}

func TestParseEndpoint(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want netip.AddrPort
		text string
	}{
		{"192.0.2.1", netip.MustParseAddrPort("192.0.2.1:0"), ""},
		{"192.0.2.1:4501", netip.MustParseAddrPort("192.0.2.1:4501"), ""},
		{"2001:db8::1", netip.MustParseAddrPort("[2001:db8::1]:0"), ""},
		{"[2001:db8::1]:4501", netip.MustParseAddrPort("[2001:db8::1]:4501"), ""},
		{"2001:db8::1:4501x", netip.AddrPort{}, "names are not resolved"},
		{"::ffff:192.0.2.1", netip.AddrPort{}, "write 192.0.2.1"},
		{"0.0.0.0", netip.AddrPort{}, "reach"},
		{"255.255.255.255:1", netip.AddrPort{}, "reach"},
		{"ff02::1", netip.AddrPort{}, "reach"},
		{"169.254.0.1", netip.AddrPort{}, "reach"},
	} {
		got, text := ParseEndpoint(tt.in)
		if (text == "") != (tt.text == "") || !strings.Contains(text, tt.text) || tt.text == "" && got != tt.want {
			t.Errorf("%q: %v, %q; want %v, %q", tt.in, got, text, tt.want, tt.text)
		}
	}
}

func TestCheckHostFindsTheSameEndpointTwice(t *testing.T) {
	pools := ipam.Pools{IPv4: netip.MustParsePrefix("10.86.0.0/16"), IPv6: netip.MustParsePrefix("fd86::/64")}
	_, r := CheckHost(&operatorv1.Host{Spec: &operatorv1.HostSpec{Endpoints: []string{"2001:db8::1", "2001:db8:0::1"}}}, pools)
	if len(r.Problems) != 1 || r.Problems[0].Field != "spec.endpoints[1]" || !strings.Contains(r.Problems[0].Text, "spec.endpoints[0]") {
		t.Errorf("problems %v", r.Problems)
	}
}

func TestDefaultsAreFilledOnce(t *testing.T) {
	p := &operatorv1.Policy{}
	CompletePolicy(p)
	once := proto.CloneOf(p)
	CompletePolicy(p)
	if !proto.Equal(p, once) || p.GetSpec().GetStart() != "always" || p.GetSpec().GetLifetime().GetHardTime().AsDuration() != 8*time.Hour {
		t.Errorf("complete %v, then %v", once, p)
	}
	own := &operatorv1.Policy{Spec: &operatorv1.PolicySpec{Proposal: "aes128gcm16", Lifetime: &operatorv1.PolicyLifetime{RekeyTime: durationpb.New(time.Minute)}}}
	CompletePolicy(own)
	if own.GetSpec().GetProposal() != "aes128gcm16" || own.GetSpec().GetLifetime().GetRekeyTime().AsDuration() != time.Minute {
		t.Errorf("an operator's values were replaced: %v", own)
	}
	now := time.Unix(1_700_000_000, 5).UTC()
	token := &operatorv1.JoinToken{Spec: &operatorv1.JoinTokenSpec{Host: "h"}}
	CompleteJoinToken(token, now)
	if token.GetSpec().GetMaxUses() != 1 || !token.GetSpec().GetExpireTime().AsTime().Equal(time.Unix(1_700_000_000, 0).Add(24*time.Hour)) {
		t.Errorf("token %v", token)
	}
}

func TestWarnings(t *testing.T) {
	lifetime := func(l *operatorv1.PolicyLifetime) Report {
		p := &operatorv1.Policy{Spec: &operatorv1.PolicySpec{Hosts: "*", Lifetime: l}}
		CompletePolicy(p)
		return CheckPolicy(p)
	}
	if r := lifetime(&operatorv1.PolicyLifetime{RekeyBytes: 1000, RekeyPackets: 10}); len(r.Problems) != 0 || len(r.Warnings) != 2 {
		t.Errorf("low limits: %v", r)
	}
	if r := lifetime(&operatorv1.PolicyLifetime{RekeyBytes: 1 << 30, HardBytes: 2 << 30}); len(r.Problems)+len(r.Warnings) != 0 {
		t.Errorf("good limits: %v", r)
	}
	now := time.Unix(1_700_000_000, 0)
	long := &operatorv1.JoinToken{Spec: &operatorv1.JoinTokenSpec{NamePrefix: "x", ExpireTime: timestamppb.New(now.Add(365 * 24 * time.Hour))}}
	if r := CheckJoinToken(long, now); len(r.Problems) != 0 || len(r.Warnings) != 1 {
		t.Errorf("a token for a year: %v", r)
	}
	bad := &operatorv1.JoinToken{Spec: &operatorv1.JoinTokenSpec{NamePrefix: "x", ExpireTime: &timestamppb.Timestamp{Nanos: -1}}}
	if r := CheckJoinToken(bad, now); len(r.Problems) != 1 {
		t.Errorf("a token that ends at no time: %v", r)
	}
	for _, tt := range []struct {
		to             string
		from, n, union int
		want           string
	}{
		{"", 0, 0, 0, "selects no host"}, {"", 1, 0, 1, "one host only"}, {"", 2, 0, 2, ""},
		{"b", 0, 3, 3, "spec.hosts"}, {"b", 3, 0, 3, "spec.to"}, {"b", 1, 1, 1, "same single host"}, {"b", 1, 1, 2, ""},
	} {
		got := SelectionWarnings(&operatorv1.Policy{Spec: &operatorv1.PolicySpec{Hosts: "a", To: tt.to}}, tt.from, tt.n, tt.union)
		if (len(got) == 0) != (tt.want == "") || len(got) > 0 && !strings.Contains(got[0], tt.want) {
			t.Errorf("to %q, %d %d %d: %q, want %q", tt.to, tt.from, tt.n, tt.union, got, tt.want)
		}
	}
}

func TestProposals(t *testing.T) {
	check := func(proposal string, insecure bool) Report {
		p := &operatorv1.Policy{Spec: &operatorv1.PolicySpec{Hosts: "*", Proposal: proposal, Insecure: insecure}}
		CompletePolicy(p)
		return CheckPolicy(p)
	}
	for _, good := range []string{"", "aes128gcm16", "aes256-sha512", "aes128ctr-sha256", "null-sha256", "aes256-blake2s128", "aes256gcm16-noesn", "aes128-sha1-esn"} {
		if r := check(good, false); len(r.Problems)+len(r.Warnings) != 0 {
			t.Errorf("%q: %v", good, r)
		}
	}
	for _, tt := range []struct {
		proposal string
		insecure bool
		want     string
	}{
		{"aes256", false, "RFC 8221 section 4: encryption without integrity MUST NOT be used; add an integrity algorithm"},
		{"des-sha256", true, `RFC 8221 says MUST NOT: encryption "des"; aes256gcm16 is the default`},
		{"aes128-md5", false, "RFC 8221 says MUST NOT"},
		{"3des-sha1", false, "RFC 8221 says SHOULD NOT: encryption \"3des\"; insecure: true"},
		{"aes256gcm16-sha256", false, "takes no integrity"},
		{"propsal", false, "there are aes128gcm16, aes256gcm16,"},
	} {
		r := check(tt.proposal, tt.insecure)
		if len(r.Problems) != 1 || r.Problems[0].Field != "spec.proposal" || !strings.Contains(r.Problems[0].Text, tt.want) {
			t.Errorf("%q: %v, want %q", tt.proposal, r.Problems, tt.want)
		}
	}
	if r := check("3des-sha1", true); len(r.Problems)+len(r.Warnings) != 0 {
		t.Errorf("3des with insecure: %v", r)
	}
	if r := check("aes128gcm16", true); len(r.Problems) != 0 || len(r.Warnings) != 1 {
		t.Errorf("insecure for nothing: %v", r)
	}
}
