package fleet

import (
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

func TestAdmit(t *testing.T) {
	host, other := plan.UID{1}, plan.UID{2}
	start := time.Unix(1_800_000_000, 0)
	type step struct {
		after     time.Duration // since the step before
		host      plan.UID
		epoch     byte
		stream    uint64
		reason    string // refused with
		begun     bool
		duplicate bool
		begins    int
	}
	cases := map[string][]step{
		"streams of one epoch": {
			{0, host, 1, 1, "", true, false, 1}, {0, host, 1, 2, "", false, false, 1}, {0, host, 1, 9, "", false, false, 1},
			{0, host, 1, 9, ReasonSuperseded, false, false, 1}, {0, host, 1, 3, ReasonSuperseded, false, false, 1},
		},
		"a new process may count from 1": {{0, host, 1, 7, "", true, false, 1}, {time.Second, host, 2, 1, "", true, false, 2}},
		"three epochs in ten minutes": {
			{0, host, 1, 1, "", true, false, 1}, {time.Minute, host, 2, 1, "", true, false, 2},
			{8*time.Minute + 59*time.Second, host, 3, 1, "", true, true, 3}, {time.Second, host, 3, 2, "", false, false, 3},
		},
		"a fourth epoch waits": {
			{0, host, 1, 1, "", true, false, 1}, {0, host, 2, 1, "", true, false, 2}, {0, host, 3, 1, "", true, true, 3},
			{4 * time.Second, host, 4, 1, ReasonTooSoon, false, false, 3}, {0, host, 3, 2, "", false, true, 3},
			{time.Second, host, 4, 1, "", true, true, 3},
		},
		"three epochs in more": {
			{0, host, 1, 1, "", true, false, 1}, {time.Minute, host, 2, 1, "", true, false, 2}, {9 * time.Minute, host, 3, 1, "", true, false, 3},
			{9 * time.Minute, host, 4, 1, "", true, false, 3}, {time.Second, host, 5, 1, "", true, true, 3},
		},
		"an epoch that comes back waits": {
			{0, host, 1, 1, "", true, false, 1}, {time.Hour, host, 2, 1, "", true, false, 2},
			{29 * time.Second, host, 1, 2, ReasonDuplicate, false, false, 2}, {0, host, 2, 2, "", false, false, 2},
			{time.Second, host, 1, 3, "", true, true, 3},
		},
		"another host of that name": {
			{0, host, 1, 5, "", true, false, 1}, {0, host, 2, 5, "", true, false, 2}, {0, other, 1, 1, "", true, false, 1},
		},
	}
	for name, steps := range cases {
		t.Run(name, func(t *testing.T) {
			var record *controllerv1.Epoch
			now := start
			for i, s := range steps {
				now = now.Add(s.after)
				a, err := admit(record, s.host, plan.Epoch{s.epoch}, s.stream, now)
				if reasonOf(err) != s.reason || err == nil && (a.begun != s.begun || a.duplicate != s.duplicate) {
					t.Fatalf("step %d: %+v, %v", i, a, err)
				}
				if err == nil {
					record = a.record
				}
				if n := len(record.GetBeginTimes()); n != s.begins || len(record.GetPastEpochs()) > epochsKept {
					t.Fatalf("step %d: %d begins, %d past epochs", i, n, len(record.GetPastEpochs()))
				}
			}
		})
	}
}

func TestRefusedBelow(t *testing.T) {
	for _, c := range []struct{ number, highest, want uint32 }{
		{5, 0, 6}, {5, 5, 6}, {5, 9, 10}, {5, 4, 6},
		{5, math.MaxUint32, 5 + maxBurntLead + 1}, // a lie does not use up the numbers
		{math.MaxUint32 - 1, math.MaxUint32, math.MaxUint32}, {math.MaxUint32, 0, math.MaxUint32},
	} {
		if got := refusedBelow(c.number, c.highest); got != c.want {
			t.Errorf("refusedBelow(%d, %d) = %d, want %d", c.number, c.highest, got, c.want)
		}
	}
}

func TestPhaseEdit(t *testing.T) {
	now := time.Unix(5000, 0)
	record := func() *controllerv1.GenerationPhase {
		return &controllerv1.GenerationPhase{Acks: 1, CreateTime: 1000, SoftTime: 9000, RefusedBelow: 4}
	}
	cases := map[string]struct {
		edit    phaseEdit
		changed bool
		ok      func(*controllerv1.GenerationPhase) bool
	}{
		"new ack":       {phaseEdit{acks: plan.OutA}, true, func(r *controllerv1.GenerationPhase) bool { return r.GetAcks() == 5 }},
		"known ack":     {phaseEdit{acks: plan.InA}, false, nil},
		"refusal":       {phaseEdit{refusedBelow: 5}, true, func(r *controllerv1.GenerationPhase) bool { return r.GetRefusedBelow() == 5 }},
		"lower refusal": {phaseEdit{refusedBelow: 4}, false, nil},
		"rekey":         {phaseEdit{soft: true}, true, func(r *controllerv1.GenerationPhase) bool { return r.GetSoftTime() == 5000 }},
	}
	for name, c := range cases {
		r := record()
		if c.edit.apply(r, now) != c.changed || c.ok != nil && !c.ok(r) {
			t.Errorf("%s: %v", name, r)
		}
		if c.edit.apply(r, now) {
			t.Errorf("%s: not idempotent", name)
		}
	}
	young := record()
	young.CreateTime = 4999
	if (phaseEdit{soft: true}).apply(young, now); young.GetSoftTime() != 4999+uint32(leastAge/time.Second) {
		t.Errorf("a generation of a second is rekeyed at %d", young.GetSoftTime())
	}
}

func TestSee(t *testing.T) {
	pools := []netip.Prefix{netip.MustParsePrefix("100.64.0.0/16")}
	cases := map[string]struct {
		underlay []string
		from     string
		observed string
		kept     []string
		nat      bool
	}{
		"its own address":   {[]string{"192.0.2.1", "2001:db8::1"}, "192.0.2.1:1", "192.0.2.1", []string{"192.0.2.1", "2001:db8::1"}, false},
		"mapped":            {[]string{"::ffff:192.0.2.1"}, "[::ffff:192.0.2.1]:1", "192.0.2.1", []string{"192.0.2.1"}, false},
		"behind NAT":        {[]string{"10.0.0.5"}, "203.0.113.7:1", "203.0.113.7", []string{"10.0.0.5"}, true},
		"nonsense":          {[]string{"127.0.0.1", "224.0.0.1", "0.0.0.0", "fe80::1", "::1", "ff02::1"}, "203.0.113.7:1", "203.0.113.7", nil, true},
		"the overlay's own": {[]string{"100.64.0.7", "192.0.2.1"}, "100.64.0.7:1", "192.0.2.1", []string{"192.0.2.1"}, false},
		"beside it":         {[]string{"192.0.2.1"}, "127.0.0.1:1", "192.0.2.1", []string{"192.0.2.1"}, false},
		"nothing known":     {nil, "127.0.0.1:1", "", nil, false},
		"twice":             {[]string{"192.0.2.1", "192.0.2.1"}, "192.0.2.1:1", "192.0.2.1", []string{"192.0.2.1"}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := &fleetv1.HostReport{EspPort: 4500}
			for _, u := range c.underlay {
				a := netip.MustParseAddr(u).As16()
				r.UnderlayAddresses = append(r.UnderlayAddresses, a[:])
			}
			r.UnderlayAddresses = append(r.UnderlayAddresses, []byte{1, 2, 3})
			s := see(r, netip.MustParseAddrPort(c.from), pools)
			var status operatorv1.HostStatus
			s.write(&status, time.Now())
			if status.GetObservedAddress() != c.observed || status.GetBehindNat() != c.nat || !slices.Equal(status.GetUnderlayAddresses(), c.kept) {
				t.Errorf("status = %v", &status)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	now := time.Now()
	others := []*operatorv1.Condition{{Type: "Other", Message: "x"}}
	set := withCondition(others, conditionDuplicate, "two", now)
	if len(set) != 2 || len(others) != 1 {
		t.Fatalf("set = %v", set)
	}
	if again := withCondition(set, conditionDuplicate, "three", now.Add(time.Hour)); again[1].GetTransitionTime().AsTime() != timestamppb.New(now).AsTime() {
		t.Errorf("again = %v", again)
	}
	if cleared := withCondition(set, conditionDuplicate, "", now); len(cleared) != 1 || cleared[0].GetType() != "Other" || len(set) != 2 {
		t.Errorf("cleared = %v", cleared)
	}
}

func TestResourceNames(t *testing.T) {
	id := plan.SAID{1, 0xff}
	for _, r := range []resource{configResource, pairResource(plan.PairID(id)), inboundResource(id), outboundResource(id)} {
		text := r.String()
		if back, ok := parseResource(text); !ok || back != r {
			t.Errorf("%s: %v, %v", text, back, ok)
		}
		for cut := range text {
			if _, ok := parseResource(text[:cut]); ok {
				t.Errorf("%q is taken", text[:cut])
			}
		}
	}
}

func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.ReasonOf(err)
}

func TestPace(t *testing.T) {
	var p pace
	now := time.Unix(1000, 0)
	for i := range 21 {
		if got, want := p.reserve("web-1", now), time.Duration(i)*streamInterval; got != want {
			t.Fatalf("turn %d in %v, want %v", i, got, want)
		}
	}
	for range 3 {
		if got, want := p.reserve("web-1", now), streamQueue+streamInterval; got != want {
			t.Errorf("a turn beyond the queue is in %v, want %v: the queue must not grow", got, want)
		}
	}
	if p.reserve("web-2", now) != 0 || p.reserve("web-1", now.Add(time.Hour)) != 0 {
		t.Error("a host waits for another, or for ever")
	}
}

func TestAcksNameGenerationAndEpoch(t *testing.T) {
	id, epochA, epochB := plan.SAID{1}, plan.Epoch{2}, plan.Epoch{3}
	record := &controllerv1.GenerationPhase{Id: id[:], EpochA: epochA[:], EpochB: epochB[:]}
	value, err := store.Encode(record)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		ref  generationRef
		want bool
	}{
		"A":             {generationRef{id: id, ofA: true, epoch: epochA}, true},
		"B":             {generationRef{id: id, epoch: epochB}, true},
		"another pair":  {generationRef{id: plan.SAID{9}, epoch: epochB}, false},
		"another epoch": {generationRef{id: id, ofA: true, epoch: epochB}, false},
		"a dead epoch":  {generationRef{id: id, epoch: plan.Epoch{4}}, false},
	} {
		e := c.ref.change(phaseEdit{acks: plan.InA}, store.Compare{}, time.Now)
		out, err := e.apply(store.KV{Value: value}, true)
		if err != nil || (out != nil) != c.want {
			t.Errorf("%s: changed %v, %v", name, out != nil, err)
		}
		if out, err := e.apply(store.KV{}, false); out != nil || err != nil {
			t.Errorf("%s: a forgotten generation came back: %v, %v", name, out, err)
		}
	}
}
