package plan

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// up is a pair that is up, made at t0, with one generation.
func up() Situation {
	t := Transform{ID: 20, KeyBits: 256, ESN: true}
	a := &Host{UID: UID{1}, Name: "a", Epoch: Epoch{1}, Live: true}
	b := &Host{UID: UID{2}, Name: "b", Epoch: Epoch{2}, Live: true}
	for i, h := range []*Host{a, b} {
		h.Observed = addrs("192.0.2.1", "192.0.2.2")[i]
	}
	return Situation{
		ID: PairOf(a.UID, b.UID), A: a, B: b, Incarnation: 1,
		Policy: &Policy{Name: "mesh", Transform: t, Lifetime: Lifetime{Rekey: time.Hour, Hard: 8 * time.Hour}},
		Generations: []Generation{{
			Number: 7, Phase: Established, Acks: bothIn | bothOut, EpochA: a.Epoch, EpochB: b.Epoch, Incarnation: 1,
			Create: seconds(t0), PhaseTime: seconds(t0), Soft: seconds(t0) + 3500, Hard: seconds(t0) + 8*3600, Transform: t,
		}},
	}
}

var t0 = time.Unix(1_800_000_000, 0)

func kinds(changes []Change) string {
	var words []string
	for _, c := range changes {
		words = append(words, c.Kind.String()+" "+c.Cause.String())
	}
	return strings.Join(words, ", ")
}

func TestStep(t *testing.T) {
	for name, test := range map[string]struct {
		change   func(*Situation)
		after    time.Duration
		want     string
		deadline time.Duration // after t0; 0: none
	}{
		"nothing to do":      {func(*Situation) {}, time.Minute, "", 3500 * time.Second},
		"rekey time":         {func(*Situation) {}, 3500 * time.Second, "create rekey", 0},
		"one host is away":   {func(s *Situation) { s.B.Live = false }, 3500 * time.Second, "", 8 * time.Hour},
		"the other is away":  {func(s *Situation) { s.A.Live = false }, 3500 * time.Second, "", 8 * time.Hour},
		"hard limit":         {func(s *Situation) { s.B.Live = false }, 8 * time.Hour, "advance expired", 9 * time.Hour},
		"rekey on demand":    {func(s *Situation) { s.Policy.RekeyBefore = t0.Add(time.Minute) }, time.Minute, "create rekey", 0},
		"of a host":          {func(s *Situation) { s.A.RekeyBefore = t0.Add(time.Minute) }, time.Minute, "create rekey", 0},
		"by a clock ahead":   {func(s *Situation) { s.B.RekeyBefore = t0.Add(90 * time.Second) }, time.Minute, "", 90 * time.Second},
		"just made":          {func(s *Situation) { s.B.RekeyBefore = t0 }, time.Minute, "", 3500 * time.Second},
		"within its second":  {func(s *Situation) { s.B.RekeyBefore = t0.Add(time.Millisecond) }, 0, "", time.Second},
		"other transform":    {func(s *Situation) { s.Policy.Transform.KeyBits = 128 }, time.Minute, "create rekey", 0},
		"shorter life":       {func(s *Situation) { s.Policy.Lifetime.Hard = time.Hour }, time.Minute, "create rekey", 0},
		"longer life":        {func(s *Situation) { s.Policy.Lifetime.Hard = 24 * time.Hour }, time.Minute, "", 3500 * time.Second},
		"new life":           {func(s *Situation) { s.A.Epoch = Epoch{9} }, time.Minute, "create new-epoch", 0},
		"new life elsewhere": {func(s *Situation) { s.A.Epoch, s.B.Live = Epoch{9}, false }, time.Minute, "", 8 * time.Hour},
		"new incarnation":    {func(s *Situation) { s.Incarnation = 2 }, time.Minute, "create new-epoch", 0},
		"given up at once":   {func(s *Situation) { s.Generations[0].RefusedBelow = 8 }, time.Second, "", 2 * time.Second},
		"refused when up":    {func(s *Situation) { s.Generations[0].RefusedBelow = 8 }, time.Minute, "create retry", 0},
		"not wanted":         {func(s *Situation) { s.Policy = nil }, time.Minute, "advance not-wanted", 9 * time.Hour},
		"host gone":          {func(s *Situation) { s.Policy, s.A = nil, nil }, time.Minute, "advance not-wanted", 9 * time.Hour},
		"both moved behind NAT": {func(s *Situation) {
			s.A.BehindNAT, s.B.BehindNAT, s.A.Epoch = true, true, Epoch{9}
		}, time.Minute, "create new-epoch", 0},
		"both behind NAT": {func(s *Situation) {
			s.A.BehindNAT, s.B.BehindNAT, s.Generations = true, true, nil
		}, time.Minute, "", 0},
		"first key":       {func(s *Situation) { s.Generations = nil }, time.Minute, "create first-key", 0},
		"numbers used up": {func(s *Situation) { s.Generations[0].Number = math.MaxUint32 }, 2 * time.Hour, "", 8 * time.Hour},
		"acks of a dead life do not count": {func(s *Situation) {
			s.Generations[0].Phase, s.Generations[0].Acks, s.A.Epoch = Inbound, bothIn, Epoch{9}
		}, time.Minute, "create new-epoch", 0},
		"tombstone acked": {func(s *Situation) {
			s.Policy, s.Generations[0].Phase, s.Generations[0].Acks = nil, Deleting, DeletedA|DeletedB
		}, time.Minute, "forget acked", 0},
		"tombstone half acked": {func(s *Situation) {
			s.Policy, s.Generations[0].Phase, s.Generations[0].Acks = nil, Deleting, DeletedA
		}, time.Minute, "", 9 * time.Hour},
		"tombstone of a life that ended": {func(s *Situation) {
			s.Policy, s.Generations[0].Phase, s.Generations[0].Acks, s.B.Epoch = nil, Deleting, DeletedA, Epoch{9}
		}, time.Minute, "forget acked", 0},
		"tombstone of nobody": {func(s *Situation) {
			s.Policy, s.Generations[0].Phase = nil, Deleting
		}, 9 * time.Hour, "forget overdue", 0},
		"not up and not renewed in time": {func(s *Situation) {
			s.Generations[0].Phase = Inbound
		}, 3500 * time.Second, "advance outdated, create rekey", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := up()
			test.change(&s)
			before := slices.Clone(s.Generations)
			changes, deadline := Step(s, t0.Add(test.after), Limits{})
			if got := kinds(changes); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if want := t0.Add(test.deadline); test.deadline != 0 && !deadline.Equal(want) {
				t.Errorf("deadline %v after, want %v", deadline.Sub(t0), test.deadline)
			}
			if !deadline.IsZero() && !deadline.After(t0.Add(test.after)) {
				t.Errorf("deadline %v is not to come", deadline)
			}
			if !slices.Equal(before, s.Generations) {
				t.Error("Step wrote to what it was given")
			}
		})
	}
}

// A generation is made with a number above all, the present lives and limits, and a jitter that spreads.
func TestFresh(t *testing.T) {
	var sum, most uint32
	least := uint32(math.MaxUint32)
	const pairs = 2000
	for n := range pairs {
		s := up()
		s.ID[3] = byte(n)
		s.ID[4] = byte(n >> 8)
		s.Generations[0].RefusedBelow = 20
		now := t0.Add(time.Minute + 300*time.Millisecond)
		changes, _ := Step(s, now, Limits{})
		if len(changes) != 1 {
			t.Fatalf("changes %s", kinds(changes))
		}
		g := changes[0].Generation
		want := Generation{
			Number: 20, Phase: Inbound, EpochA: s.A.Epoch, EpochB: s.B.Epoch, Incarnation: 1, Create: seconds(now),
			PhaseTime: seconds(now), Soft: g.Soft, Hard: seconds(now) + 8*3600, Transform: s.Policy.Transform,
		}
		if g != want {
			t.Fatalf("generation %+v, want %+v", g, want)
		}
		early := 3600 - (g.Soft - g.Create)
		sum, most, least = sum+early, max(most, early), min(least, early)
	}
	if mean := sum / pairs; most > 360 || most < 350 || least > 10 || mean < 160 || mean > 200 {
		t.Errorf("rekeys are %d to %d s early, %d s in the mean; want 0 to 360", least, most, mean)
	}
}

func TestWhy(t *testing.T) {
	for want, change := range map[string]func(*Situation){
		"":                          func(*Situation) {},
		"no policy wants this pair": func(s *Situation) { s.Policy, s.Generations = nil, nil },
		"host a has never connected": func(s *Situation) {
			s.A.Epoch, s.A.Live = Epoch{}, false
		},
		"host b has not been connected since 2027-01-15T08:00:00Z": func(s *Situation) {
			s.B.Live, s.B.Since, s.Generations = false, t0, nil
		},
		"both hosts are behind NAT; needs a reflector, which does not exist yet; give one a reachable endpoint in spec.endpoints": func(s *Situation) {
			s.A.BehindNAT, s.B.BehindNAT, s.Generations = true, true, nil
		},
		"no address family in common": func(s *Situation) {
			s.A.Observed, s.Generations = addrs("2001:db8::1")[0], nil
		},
		"host a: no underlay address is known yet": func(s *Situation) {
			s.A.Observed, s.Generations = addrs("0.0.0.0")[0], nil
		},
		"waiting for the acknowledgement of the inbound SA by host b": func(s *Situation) {
			s.Generations[0].Phase, s.Generations[0].Acks = Inbound, InA
		},
		"waiting for the acknowledgement of the outbound SA by host a": func(s *Situation) {
			s.Generations[0].Phase, s.Generations[0].Acks = Outbound, bothIn|OutB
		},
		"both hosts have acknowledged the inbound SA": func(s *Situation) {
			s.Generations[0].Phase, s.Generations[0].Acks = Inbound, bothIn
		},
		"the outbound SA of generation 7 was refused by host b": func(s *Situation) {
			s.Generations[0].Phase, s.Generations[0].Acks, s.Generations[0].RefusedBelow = Outbound, bothIn|OutA, 8
		},
		"keys are being made": func(s *Situation) { s.A.Epoch = Epoch{9} },
	} {
		s := up()
		change(&s)
		got := Why(s, t0.Add(time.Minute))
		if got != want && (want == "" || !strings.Contains(got, want)) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestIDs(t *testing.T) {
	x, y := UID{1}, UID{2}
	id := PairOf(y, x)
	if id != PairOf(x, y) || id.A() != x || id.B() != y || id.Other(x) != y || id.Other(y) != x || !id.Has(x) || id.Has(UID{3}) {
		t.Errorf("pair %s of %s and %s", id, x, y)
	}
	if back, err := ParsePairID(id[:]); err != nil || back != id {
		t.Errorf("ParsePairID: %s, %v", back, err)
	}
	for _, bad := range [][]byte{nil, id[:15], append(id[:], 0), make([]byte, 16), append(y[:], x[:]...)} {
		if _, err := ParsePairID(bad); err == nil {
			t.Errorf("ParsePairID(%x) succeeds", bad)
		}
	}
	if u, err := ParseUID("0100000000000000"); err != nil || u != x || u.String() != "0100000000000000" {
		t.Errorf("ParseUID: %s, %v", u, err)
	}
	for _, bad := range []string{"", "01", "010000000000000g", "010000000000000000"} {
		if _, err := ParseUID(bad); err == nil {
			t.Errorf("ParseUID(%q) succeeds", bad)
		}
	}
}
