package pad_test

import (
	"crypto"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/identity/pad/padtest"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/spd"
)

func keyed(t testing.TB, s string) pad.Accept { return pad.Accept{Secrets: []pad.Secret{secret(t, s)}} }

// TestMostSpecificWins: each entry has a secret of its own; only the chosen one's counts.
func TestMostSpecificWins(t *testing.T) {
	var entries []pad.Entry
	for _, remote := range []string{"any", "fqdn:*.example", "fqdn:*.a.example", "fqdn:gw.a.example", "ipv4:192.0.2.0/24", "ipv4:192.0.2.1"} {
		entries = append(entries, entry(t, remote, remote, keyed(t, remote)))
	}
	for range 2 {
		d := database(t, pad.Config{Entries: entries})
		for id, want := range map[string]string{
			"fqdn:gw.a.example": "fqdn:gw.a.example", "fqdn:x.a.example": "fqdn:*.a.example", "fqdn:a.example": "fqdn:*.example", "fqdn:x": "any",
			"ipv4:192.0.2.1": "ipv4:192.0.2.1", "ipv4:192.0.2.2": "ipv4:192.0.2.0/24", "ipv4:192.0.3.1": "any", "keyid:x": "any",
		} {
			if v := expect(t, d, peer{id, []pad.Credential{{Secret: secret(t, want)}}}.claim(t), 0); v.Entry.Name != want {
				t.Errorf("%s is judged by %s, want %s", id, v.Entry.Name, want)
			}
			if want != "any" { // what a wider entry accepts is no help
				expect(t, d, peer{id, []pad.Credential{{Secret: secret(t, "any")}}}.claim(t), pad.WrongSecret)
			}
		}
		slices.Reverse(entries)
	}
}

// TestOverlapsAreRefused: the error names both entries.
func TestOverlapsAreRefused(t *testing.T) {
	on := func(e pad.Entry, hosts ...string) pad.Entry { e.Hosts = hosts; return e }
	as := func(e pad.Entry, id string) pad.Entry { e.Local.ID = identity(t, id); return e }
	e := func(name, remote string) pad.Entry { return entry(t, name, remote, keyed(t, "x")) }
	for name, c := range map[string]struct {
		a, b pad.Entry
		ok   bool
	}{
		"the same":                 {e("one", "gw.example"), e("two", "GW.Example."), false},
		"the same on two hosts":    {on(e("one", "gw"), "h1"), on(e("two", "gw"), "h2"), true},
		"the same on one host":     {on(e("one", "gw"), "h1", "h2"), on(e("two", "gw"), "h2", "h3"), false},
		"the same on all hosts":    {e("one", "gw"), on(e("two", "gw"), "h2"), false},
		"to which we are two":      {e("one", "gw"), as(e("two", "gw"), "other.example"), true},
		"DNs that overlap in part": {e("one", "CN=*,O=x"), e("two", "CN=a,O=*"), false},
		"one in the other":         {e("one", "CN=*,O=x"), e("two", "CN=a,O=x"), true},
		"any and any":              {e("one", "any"), e("two", "any"), false},
		"one name":                 {on(e("one", "a"), "h1"), on(e("one", "b"), "h2"), false},
		"NULL and NULL":            {entry(t, "one", "null:", pad.Accept{Null: true}), entry(t, "two", "null:", pad.Accept{Null: true}), false},
		"NULL and any":             {entry(t, "one", "null:", pad.Accept{Null: true}), e("two", "any"), true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := pad.New(pad.Config{Entries: []pad.Entry{c.a, c.b}})
			if (err == nil) != c.ok || err != nil && (!errors.Is(err, pad.ErrConfig) || !strings.Contains(err.Error(), c.a.Name) || !strings.Contains(err.Error(), c.b.Name)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestEnds: hosts, our identities and entries that we called decide too.
func TestEnds(t *testing.T) {
	one, two := entry(t, "one", "gw.example", keyed(t, "secret")), entry(t, "two", "gw.example", keyed(t, "secret"))
	two.Local.ID = identity(t, "other.example")
	away, wide := entry(t, "away", "away.example", keyed(t, "secret")), entry(t, "wide", "any", keyed(t, "secret"))
	away.Hosts = []string{"h2"}
	wide.Hosts = []string{"h1", "h3"}
	d := database(t, pad.Config{Entries: []pad.Entry{one, two, away, wide}})
	for name, c := range map[string]struct {
		id    string
		edit  func(*pad.Claim)
		want  pad.Code
		entry string
	}{
		"asks for none":             {"gw.example", nil, pad.AmbiguousIdentity, ""},
		"asks for one":              {"gw.example", func(c *pad.Claim) { c.Local = identity(t, "us.example") }, 0, "one"},
		"asks for the other":        {"gw.example", func(c *pad.Claim) { c.Local = identity(t, "Other.Example") }, 0, "two"},
		"asks for neither":          {"gw.example", func(c *pad.Claim) { c.Local = identity(t, "x.example") }, pad.OtherLocalIdentity, ""},
		"on another host":           {"away.example", func(c *pad.Claim) { c.Host = "h4" }, pad.UnknownIdentity, ""},
		"on its host":               {"away.example", func(c *pad.Claim) { c.Host = "h2" }, 0, "away"},
		"called, and it answers":    {"gw.example", called("two"), 0, "two"},
		"called, another answers":   {"x.example", called("one"), pad.OtherEntry, ""},
		"called wide, one answers":  {"gw.example", called("wide"), pad.OtherEntry, ""},
		"called wide, any answers":  {"x.example", called("wide"), 0, "wide"},
		"called, a stranger":        {"x.example", func(c *pad.Claim) { called("two")(c); c.Host = "h4" }, pad.UnknownIdentity, ""},
		"says that it is us":        {"us.example", func(c *pad.Claim) { c.Host = "h3" }, pad.OwnIdentity, ""},
		"our own words, responding": {"us.example", called("wide"), pad.OwnIdentity, ""},
	} {
		t.Run(name, func(t *testing.T) {
			claim := peer{c.id, []pad.Credential{{Secret: secret(t, "secret")}}}.claim(t)
			if c.edit != nil {
				c.edit(&claim)
			}
			if v := expect(t, d, claim, c.want); v.Entry.Name != c.entry {
				t.Errorf("judged by %q", v.Entry.Name)
			}
		})
	}
	narrow := database(t, pad.Config{Entries: []pad.Entry{one, two, away}})
	claim := peer{"x.example", []pad.Credential{{Secret: secret(t, "secret")}}}.claim(t)
	called("two")(&claim)
	if v := expect(t, narrow, claim, pad.UnknownIdentity); v.Refusal.Entry != "two" || !strings.Contains(v.Refusal.Reason, "gw.example is expected") {
		t.Errorf("who answers for another: %v", v.Refusal)
	}
	claim.Remote = ikewire.Identification{Type: ikewire.IDNull}
	expect(t, narrow, claim, pad.BadIdentity)
	if e, ok := d.Lookup("two"); !ok || !pad.SameIdentity(e.Local.ID, identity(t, "other.example")) {
		t.Errorf("looked up: %+v", e)
	}
	if _, ok := d.Lookup("x"); ok {
		t.Error("x is an entry")
	}
}

func called(entry string) func(*pad.Claim) {
	return func(c *pad.Claim) { c.Role, c.Entry = pad.Responder, entry }
}

// TestNullTakesNothing: anonymous peers get no address that another entry authorises, whatever its ports.
func TestNullTakesNothing(t *testing.T) {
	prefixes := func(all ...string) []spd.Selector {
		var s []spd.Selector
		for _, p := range all {
			s = append(s, spd.Prefix(netip.MustParsePrefix(p)))
		}
		return s
	}
	anybody, somebody := entry(t, "anybody", "null:", pad.Accept{Null: true}), entry(t, "somebody", "gw.example", keyed(t, "x"))
	anybody.Selectors = prefixes("10.0.0.0/8", "2001:db8::/32")
	somebody.Selectors = prefixes("10.1.0.0/16", "10.255.255.0/24", "0.0.0.0/7")
	somebody.Selectors[0].Proto, somebody.Selectors[0].Ports = 6, spd.Ports{First: 80, Last: 80}
	d := database(t, pad.Config{Entries: []pad.Entry{anybody, somebody}})
	v := expect(t, d, peer{"x.example", []pad.Credential{{Null: true}}}.claim(t), 0)
	var got []string
	for _, s := range v.Selectors {
		got = append(got, s.First.String()+"-"+s.Last.String())
	}
	want := []string{"10.0.0.0-10.0.255.255", "10.2.0.0-10.255.254.255", "2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"}
	if !slices.Equal(got, want) {
		t.Errorf("an anonymous peer may have %q, want %q", got, want)
	}
	if v := expect(t, d, peer{"gw.example", []pad.Credential{{Null: true}}}.claim(t), 0); v.Entry.Name != "anybody" || v.Identity.Type != ikewire.IDNull {
		t.Errorf("without proof one is %s", v.Entry.Name)
	}
	somebody.Selectors = prefixes("0.0.0.0/0", "::/0")
	if _, err := pad.New(pad.Config{Entries: []pad.Entry{anybody, somebody}}); !errors.Is(err, pad.ErrConfig) || !strings.Contains(err.Error(), "anybody") {
		t.Errorf("an entry that authorises nothing: %v", err)
	}
}

// TestConfigRefused: what cannot be meant.
func TestConfigRefused(t *testing.T) {
	ca := padtest.NewCA(t, "ca")
	leaf := ca.Issue(t, "p", "p256")
	edit := func(f func(*pad.Entry)) pad.Entry { e := entry(t, "peer", remoteID, keyed(t, "x")); f(&e); return e }
	credential := func(c pad.Credential) pad.Entry {
		return edit(func(e *pad.Entry) { e.Local.Credentials = []pad.Credential{c} })
	}
	for name, e := range map[string]pad.Entry{
		"no name":                     edit(func(e *pad.Entry) { e.Name = "" }),
		"no remote identity":          edit(func(e *pad.Entry) { e.Remote = pad.Pattern{} }),
		"no identity of ours":         edit(func(e *pad.Entry) { e.Local.ID = ikewire.Identification{} }),
		"one identity for both":       edit(func(e *pad.Entry) { e.Local.ID = identity(t, remoteID) }),
		"no proof":                    edit(func(e *pad.Entry) { e.Accept = pad.Accept{} }),
		"an empty secret":             edit(func(e *pad.Entry) { e.Accept.Secrets = []pad.Secret{{}} }),
		"many secrets":                edit(func(e *pad.Entry) { e.Accept.Secrets = slices.Repeat(e.Accept.Secrets, 5) }),
		"NULL besides a secret":       edit(func(e *pad.Entry) { e.Accept.Null = true }),
		"NULL for a name":             edit(func(e *pad.Entry) { e.Accept = pad.Accept{Null: true} }),
		"a secret for NULL":           edit(func(e *pad.Entry) { e.Remote = pad.NullIdentity() }),
		"IPSECKEY without a resolver": edit(func(e *pad.Entry) { e.Accept.IPSECKEY = true }),
		"certificates of nobody":      edit(func(e *pad.Entry) { e.Accept = byCA() }),
		"an unknown authority":        edit(func(e *pad.Entry) { e.Accept = byCA("x") }),
		"a certificate for a key ID":  edit(func(e *pad.Entry) { e.Accept, e.Remote = byCA("ca"), pattern(t, "keyid:x") }),
		"a weak key pinned":           edit(func(e *pad.Entry) { e.Accept.Keys = []crypto.PublicKey{padtest.Key(t, "rsa1024").Public()} }),
		"a string pinned":             edit(func(e *pad.Entry) { e.Accept.Keys = []crypto.PublicKey{"key"} }),
		"a selector without address":  edit(func(e *pad.Entry) { e.Selectors = []spd.Selector{{}} }),
		"a credential of nothing":     credential(pad.Credential{}),
		"a credential of two":         credential(pad.Credential{Secret: secret(t, "x"), Null: true}),
		"a weak credential":           credential(pad.Credential{Signer: padtest.Key(t, "p224")}),
		"another's certificate":       credential(pad.Credential{Signer: padtest.Key(t, "p256"), Chain: signer(leaf).Chain}),
		"a chain out of order":        credential(signer(leaf, leaf)),
	} {
		if _, err := pad.New(pad.Config{Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{e}}); !errors.Is(err, pad.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, a := range map[string][]pad.Authority{
		"a leaf":         {authority("ca", leaf)},
		"no certificate": {{Name: "ca"}},
		"no name":        {authority("", ca)},
		"twice":          {authority("ca", ca), authority("ca", ca)},
	} {
		if _, err := pad.New(pad.Config{Authorities: a}); !errors.Is(err, pad.ErrConfig) {
			t.Errorf("authority, %s: %v", name, err)
		}
	}
	if _, err := pad.New(pad.Config{Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{entry(t, "peer", remoteID, byCA("ca"))}}); !errors.Is(err, pad.ErrConfig) {
		t.Errorf("certificates that nothing checks for revocation: %v", err)
	}
}

// TestUnknownTakesAsLong: an identity that nobody has costs the MACs that a wrong secret costs. The octets are
// long, so that the MACs are nearly all of it.
func TestUnknownTakesAsLong(t *testing.T) {
	d := database(t, pad.Config{Entries: []pad.Entry{entry(t, "peer", remoteID, keyed(t, "x")), entry(t, "signs", "signs.example", pad.Accept{Keys: []crypto.PublicKey{padtest.Key(t, "p256").Public()}})}})
	least := func(id string) time.Duration {
		claim := peer{id, []pad.Credential{{Secret: secret(t, "wrong")}}}.claim(t)
		claim.SignedOctets = make([]byte, 1<<20)
		best := time.Hour
		for range 9 {
			start := time.Now()
			if d.Verify(t.Context(), claim).Authorised() {
				t.Fatal("authorised")
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	wrong := least(remoteID)
	for _, id := range []string{"x.example", "signs.example"} {
		if got := least(id); got < wrong*2/3 || got > wrong*3/2 {
			t.Errorf("%s takes %s, a wrong secret %s", id, got, wrong)
		}
	}
}
