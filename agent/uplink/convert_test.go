package uplink

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
)

func TestNames(t *testing.T) {
	id := strings.Repeat("0f", 16)
	for _, good := range []string{"config", "pair/" + id, "sa/" + id + "/in", "sa/" + id + "/out"} {
		n, ok := parseName(good)
		if !ok || n.String() != good {
			t.Errorf("%s: %v, %v", good, n, ok)
		}
		for cut := range good {
			if _, ok := parseName(good[:cut]); ok {
				t.Errorf("%q is taken", good[:cut])
			}
		}
	}
	for _, bad := range []string{
		"", "config/", "pair/" + id + "/in", "sa/" + id, "sa/" + id + "/up", "pair/" + strings.ToUpper(id), "pair/" + id + "00",
		"pair/" + strings.Repeat("zz", 16), "sa//in", id + "/in", "xx/" + id + "/out",
	} {
		if n, ok := parseName(bad); ok {
			t.Errorf("%q is taken as %v", bad, n)
		}
	}
}

func goodSA() (name, *fleetv1.SecurityAssociation) {
	n := name{kind: kindInbound, id: [16]byte{1}}
	return n, &fleetv1.SecurityAssociation{
		Id: n.id[:], Pair: bytes.Repeat([]byte{2}, 16), Generation: 1, Direction: fleetv1.Direction_DIRECTION_INBOUND, Spi: 256,
		Transform: &typesv1.Transform{Encryption: 20, KeyBits: 256, Esn: true}, Key: make([]byte, 36), ReplayWindow: 2048,
		Soft: &fleetv1.Lifetime{Time: durationpb.New(time.Hour)}, Hard: &fleetv1.Lifetime{Time: durationpb.New(8 * time.Hour), Bytes: 5},
	}
}

func TestAssociation(t *testing.T) {
	n, good := goodSA()
	sa, err := association(n, good)
	if err != nil || sa.SPI != 256 || sa.Hard.Time != 8*time.Hour || sa.Hard.Bytes != 5 || sa.Soft.Time != time.Hour || !sa.ESN {
		t.Fatalf("%v, %v", sa, err)
	}
	bad := map[string]func(*fleetv1.SecurityAssociation){
		"other id":              func(s *fleetv1.SecurityAssociation) { s.Id = make([]byte, 16) },
		"short id":              func(s *fleetv1.SecurityAssociation) { s.Id = s.Id[:15] },
		"other direction":       func(s *fleetv1.SecurityAssociation) { s.Direction = fleetv1.Direction_DIRECTION_OUTBOUND },
		"short pair":            func(s *fleetv1.SecurityAssociation) { s.Pair = nil },
		"generation 0":          func(s *fleetv1.SecurityAssociation) { s.Generation = 0 },
		"reserved SPI":          func(s *fleetv1.SecurityAssociation) { s.Spi = 255 },
		"no transform":          func(s *fleetv1.SecurityAssociation) { s.Transform = nil },
		"transform over 16 bit": func(s *fleetv1.SecurityAssociation) { s.Transform.Encryption = 1<<16 + 20 },
		"no key":                func(s *fleetv1.SecurityAssociation) { s.Key = nil },
		"long key":              func(s *fleetv1.SecurityAssociation) { s.Key = make([]byte, 257) },
		"wide window":           func(s *fleetv1.SecurityAssociation) { s.ReplayWindow = 4097 },
		"no hard lifetime":      func(s *fleetv1.SecurityAssociation) { s.Hard = nil },
		"no hard time":          func(s *fleetv1.SecurityAssociation) { s.Hard.Time = nil },
		"hard time over":        func(s *fleetv1.SecurityAssociation) { s.Hard.Time = durationpb.New(0) },
		"no soft lifetime":      func(s *fleetv1.SecurityAssociation) { s.Soft = nil },
	}
	for what, change := range bad {
		sa := proto.CloneOf(good)
		change(sa)
		if got, err := association(n, sa); err == nil {
			t.Errorf("%s: taken as %v", what, got)
		}
	}
	late := proto.CloneOf(good)
	late.Soft.Time = durationpb.New(-time.Second)
	if sa, err := association(n, late); err != nil || sa.Soft.Time != time.Nanosecond {
		t.Errorf("a soft limit that has passed became %v, %v: zero would mean no limit", sa.Soft.Time, err)
	}
}

func selectorOf(first, last string) *typesv1.TrafficSelector {
	return &typesv1.TrafficSelector{
		StartAddress: netip.MustParseAddr(first).AsSlice(), EndAddress: netip.MustParseAddr(last).AsSlice(), EndPort: 65535,
	}
}

func TestPair(t *testing.T) {
	n := name{kind: kindPair, id: [16]byte{7}}
	good := &fleetv1.Pair{
		Id: n.id[:], RemoteHost: "web-2", Policy: "mesh", Local: []*typesv1.TrafficSelector{selectorOf("10.0.0.1", "10.0.0.1")},
		Remote:        []*typesv1.TrafficSelector{selectorOf("fd00::1", "fd00::ffff")},
		RemoteAddress: []byte{192, 0, 2, 1}, RemotePort: 4500, RemoteBehindNat: true,
	}
	p, err := pair(n, good)
	if err != nil || p.RemoteHost != "web-2" || p.Path.Remote != netip.MustParseAddrPort("192.0.2.1:4500") || !p.Path.RemoteBehindNAT ||
		p.Remote[0].Last != netip.MustParseAddr("fd00::ffff") {
		t.Fatalf("%+v, %v", p, err)
	}
	unknown := proto.CloneOf(good)
	unknown.RemoteAddress, unknown.RemotePort = nil, 0
	if p, err := pair(n, unknown); err != nil || p.Path.Remote.IsValid() {
		t.Errorf("an unknown address became %v, %v", p.Path.Remote, err)
	}
	bad := map[string]func(*fleetv1.Pair){
		"other id":     func(p *fleetv1.Pair) { p.Id = make([]byte, 16) },
		"no host":      func(p *fleetv1.Pair) { p.RemoteHost = "" },
		"terminal":     func(p *fleetv1.Pair) { p.RemoteHost = "web\x1b[2J" },
		"5 bytes":      func(p *fleetv1.Pair) { p.RemoteAddress = make([]byte, 5) },
		"no port":      func(p *fleetv1.Pair) { p.RemotePort = 0 },
		"big port":     func(p *fleetv1.Pair) { p.RemotePort = 65536 },
		"no selectors": func(p *fleetv1.Pair) { p.Local = nil },
		"backwards":    func(p *fleetv1.Pair) { p.Remote[0] = selectorOf("10.0.0.2", "10.0.0.1") },
		"two families": func(p *fleetv1.Pair) { p.Remote[0] = selectorOf("10.0.0.2", "fd00::1") },
		"mapped":       func(p *fleetv1.Pair) { p.Remote[0] = selectorOf("::ffff:10.0.0.1", "::ffff:10.0.0.1") },
		"protocol":     func(p *fleetv1.Pair) { p.Remote[0].IpProtocol = 256 },
		"ports":        func(p *fleetv1.Pair) { p.Remote[0].StartPort, p.Remote[0].EndPort = 2, 1 },
		"many":         func(p *fleetv1.Pair) { p.Remote = make([]*typesv1.TrafficSelector, 513) },
	}
	for what, change := range bad {
		p := proto.CloneOf(good)
		change(p)
		if got, err := pair(n, p); err == nil {
			t.Errorf("%s: taken as %+v", what, got)
		}
	}
}

func TestHostConfig(t *testing.T) {
	good := &fleetv1.HostConfig{
		OverlayAddresses: [][]byte{{100, 64, 0, 1}}, OverlayPrefixes: []string{"100.64.0.0/16"}, Subnets: []string{"10.1.0.0/24"}, Mtu: 1400,
	}
	if c, err := hostConfig(good); err != nil || c.MTU != 1400 || c.Subnets[0] != netip.MustParsePrefix("10.1.0.0/24") {
		t.Fatalf("%+v, %v", c, err)
	}
	bad := map[string]func(*fleetv1.HostConfig){
		"address":   func(c *fleetv1.HostConfig) { c.OverlayAddresses[0] = []byte{1} },
		"host bits": func(c *fleetv1.HostConfig) { c.OverlayPrefixes[0] = "100.64.0.1/16" },
		"no prefix": func(c *fleetv1.HostConfig) { c.Subnets[0] = "10.1.0.0" },
		"small MTU": func(c *fleetv1.HostConfig) { c.Mtu = 1279 },
		"large MTU": func(c *fleetv1.HostConfig) { c.Mtu = 65536 },
		"subnets":   func(c *fleetv1.HostConfig) { c.Subnets = make([]string, 257) },
		"all":       func(c *fleetv1.HostConfig) { c.OverlayPrefixes[0] = "0.0.0.0/0" },
		"all IPv6":  func(c *fleetv1.HostConfig) { c.OverlayPrefixes[0] = "::/0" },
		"too wide":  func(c *fleetv1.HostConfig) { c.OverlayPrefixes[0] = "10.0.0.0/7" },
		"too wide6": func(c *fleetv1.HostConfig) { c.OverlayPrefixes[0] = "2001::/16" },
		"loopback":  func(c *fleetv1.HostConfig) { c.OverlayPrefixes[0] = "127.0.0.0/8" },
		"link":      func(c *fleetv1.HostConfig) { c.OverlayPrefixes[0] = "fe80::/64" },
		"multicast": func(c *fleetv1.HostConfig) { c.OverlayPrefixes[0] = "239.0.0.0/8" },
	}
	for what, change := range bad {
		c := proto.CloneOf(good)
		change(c)
		if got, err := hostConfig(c); err == nil {
			t.Errorf("%s: taken as %+v", what, got)
		}
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	if d := b.next(); d >= firstRetry {
		t.Errorf("the first retry waits %v", d)
	}
	for i, whole := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		whole *= time.Second
		if d := b.next(); d < whole/2 || d > whole {
			t.Errorf("retry %d waits %v, want %v to %v", i+2, d, whole/2, whole)
		}
	}
	b.failures = 1 << 40
	if d := b.next(); d > mostRetry {
		t.Errorf("waits %v", d)
	}
	b.reset()
	if d := b.next(); d >= firstRetry {
		t.Errorf("after a success the retry waits %v", d)
	}
}

func TestHighestPosition(t *testing.T) {
	var saved []int64
	now := time.Unix(1000, 0)
	h := &highest{now: func() time.Time { return now }, save: func(p *typesv1.Position) { saved = append(saved, p.GetRevision()) }}
	position := func(incarnation uint64, revision int64) *typesv1.Position {
		return &typesv1.Position{Incarnation: incarnation, Revision: revision}
	}
	steps := []struct {
		p  *typesv1.Position
		ok bool
	}{
		{position(1, 10), true}, {position(1, 9), false}, {position(1, 10), true}, {position(1, 11), true},
		{position(2, 1), true}, {position(1, 99), false}, {position(2, 0), false},
	}
	for i, s := range steps {
		if h.raise(s.p) != s.ok {
			t.Errorf("step %d: %v", i, s.p)
		}
	}
	if got := h.get(); got.GetIncarnation() != 2 || got.GetRevision() != 1 {
		t.Errorf("highest = %v", got)
	}
	if len(saved) != 1 {
		t.Errorf("saved %v within a minute", saved)
	}
	h.flush()
	h.flush()
	if len(saved) != 2 || saved[1] != 1 {
		t.Errorf("saved %v", saved)
	}
}

func TestTextsOfTheControllerAreBounded(t *testing.T) {
	u := &fleetv1.Update{Name: strings.Repeat("\x1b", 100_000), Resource: &fleetv1.Update_Config{}}
	r := (&applier{held: newHoldings()}).update(u)
	if r == nil || len(r.Error()) > 1000 || strings.Contains(r.Error(), "\x1b") {
		t.Errorf("%.2000v", r)
	}
}

func TestHoldingsAreBounded(t *testing.T) {
	h := newHoldings()
	for i := range maxPairs {
		h.versions[name{kind: kindPair, id: [16]byte{byte(i), byte(i >> 8), byte(i >> 16), 1}}] = 1
	}
	n := name{kind: kindPair, id: [16]byte{7, 7, 7, 7}}
	one := []*typesv1.TrafficSelector{selectorOf("10.0.0.1", "10.0.0.1")}
	u := &fleetv1.Update{Name: n.String(), Resource: &fleetv1.Update_Pair{Pair: &fleetv1.Pair{Id: n.id[:], RemoteHost: "web-2", Local: one, Remote: one}}}
	if r := (&applier{held: h}).setPairs([]*fleetv1.Update{u})[0]; r == nil || !errors.Is(r, errFull) {
		t.Errorf("one pair more: %v", r)
	}
}
