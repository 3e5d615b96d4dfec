package world

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/protocol/transform"
	"sallyport.dev/sallyport/services/store"
)

func TestGenerationRoundTrip(t *testing.T) {
	want := plan.Generation{
		Number: 4, Phase: plan.Draining, Acks: plan.InA | plan.OutB | plan.DeletedB, ID: plan.SAID{1, 15: 2},
		EpochA: plan.Epoch{3}, EpochB: plan.Epoch{4}, Incarnation: 1 << 40, Create: 1, PhaseTime: 2, Soft: 3, Hard: 4,
		RefusedBelow: 9, SPIAB: 0x01020304, SPIBA: 0xff000001, Transform: plan.Transform{ID: 12, KeyBits: 256, Integrity: 14, ESN: true},
		CreateRevision: 11, ModRevision: 12,
	}
	pair := plan.PairID{0: 1, 8: 2}
	put, err := store.PutRecord(store.SAPhaseKey(store.PairID(pair), want.Number), GenerationRecord(want))
	if err != nil {
		t.Fatal(err)
	}
	gotPair, got, err := Generation(store.KV{Key: put.Key, Value: put.Value, CreateRevision: 11, ModRevision: 12})
	if err != nil || gotPair != pair || got != want {
		t.Errorf("got %s %+v, %v, want %s %+v", gotPair, got, err, pair, want)
	}
	if len(put.Value) > 128 {
		t.Errorf("the record has %d bytes, at most 128 are allowed", len(put.Value))
	}
}

func TestGenerationRefuses(t *testing.T) {
	key := store.SAPhaseKey(store.PairID{15: 1}, 1)
	good := GenerationRecord(plan.Generation{})
	short := proto.Clone(good).(*controllerv1.GenerationPhase)
	short.EpochB = short.EpochB[:15]
	for name, kv := range map[string]store.KV{
		"a short epoch": {Key: key, Value: encode(t, short)},
		"no record":     {Key: key, Value: []byte{0xff}},
		"another key":   {Key: "sa/phase/x/0000000001", Value: encode(t, good)},
	} {
		if _, g, err := Generation(kv); err == nil {
			t.Errorf("%s: got %+v, want an error", name, g)
		}
	}
}

func encode(t *testing.T, m proto.Message) []byte {
	t.Helper()
	b, err := store.Encode(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHost(t *testing.T) {
	f := newFleet(t)
	since, before := time.Unix(1_700_000_000, 0).UTC(), time.Unix(1_700_000_500, 0).UTC()
	records := f.host(5, map[string]string{"site": "a"})
	records["spec/host/host-5"].(*operatorv1.Host).Spec = &operatorv1.HostSpec{
		Subnets: []string{"192.168.5.0/24"}, Endpoints: []string{"203.0.113.5", "[2001:db8::5]:4501"},
	}
	records["status/host/host-5"] = &operatorv1.HostStatus{
		Addresses: []string{"10.86.0.5", "fd86::5"}, ObservedAddress: "203.0.113.9", UnderlayAddresses: []string{"192.168.1.5"},
		EspPort: 4502, BehindNat: true, TransitionTime: timestamppb.New(since), RekeyBefore: timestamppb.New(before),
	}
	read := func(revision int64) (plan.Host, bool) {
		t.Helper()
		if err := f.view.WaitRevision(f.ctx, revision); err != nil {
			t.Fatal(err)
		}
		h, ok, err := Host(f.view.Snapshot(), "host-5")
		if err != nil {
			t.Fatal(err)
		}
		return h, ok
	}
	revision := f.commit(records)
	got, _ := read(revision)
	want := plan.Host{
		UID: uidOf(5), Name: "host-5", Revision: revision, Labels: map[string]string{"site": "a"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.86.0.5"), netip.MustParseAddr("fd86::5")},
		Subnets:   []netip.Prefix{netip.MustParsePrefix("192.168.5.0/24")}, RekeyBefore: before,
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("203.0.113.5:0"), netip.MustParseAddrPort("[2001:db8::5]:4501")},
		Observed:  netip.MustParseAddr("203.0.113.9"), Underlay: []netip.Addr{netip.MustParseAddr("192.168.1.5")},
		ESPPort: 4502, BehindNAT: true, Epoch: epochOf(5), Live: true, Since: since,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}

	other := epochOf(6)
	for name, tt := range map[string]struct {
		puts    map[string]proto.Message
		deletes []string
		live    bool
		epoch   plan.Epoch
	}{
		"not connected":           {nil, []string{"live/host-5"}, false, epochOf(5)},
		"a stream of an old life": {map[string]proto.Message{"live/host-5": &controllerv1.Live{Epoch: other[:]}}, nil, false, epochOf(5)},
		"an epoch of a forerunner": {map[string]proto.Message{"epoch/host-5": &controllerv1.Epoch{
			HostUid: uidBytes(6), Epoch: other[:]}}, nil, false, plan.Epoch{}},
	} {
		f.commit(records)
		if h, _ := read(f.commit(tt.puts, tt.deletes...)); h.Live != tt.live || h.Epoch != tt.epoch {
			t.Errorf("%s: live %t, epoch %s, want %t, %s", name, h.Live, h.Epoch, tt.live, tt.epoch)
		}
	}
	if h, ok := read(f.commit(nil, "spec/host/host-5")); ok {
		t.Errorf("a deleted host reads as %+v", h)
	}
}

// TestTransforms: every suite that a policy may ask for goes through the records unchanged.
func TestTransforms(t *testing.T) {
	for _, suite := range append(transform.Suites(), transform.InsecureSuites()...) {
		for _, esn := range []bool{false, true} {
			want := plan.TransformOf(suite, esn)
			record := GenerationRecord(plan.Generation{Transform: want})
			if record.GetTransform().GetInsecure() != want.Insecure() {
				t.Errorf("%v: insecure %t", want, record.GetTransform().GetInsecure())
			}
			value, err := store.Encode(record)
			if err != nil {
				t.Fatal(err)
			}
			_, got, err := Generation(store.KV{Key: store.SAPhaseKey(store.PairID{15: 1}, 1), Value: value})
			if err != nil || got.Transform != want {
				t.Errorf("%v: read back as %v, %v", want, got.Transform, err)
			}
		}
	}
}

func TestPolicyProposals(t *testing.T) {
	for _, tt := range []struct {
		spec *operatorv1.PolicySpec
		want string
	}{
		{&operatorv1.PolicySpec{Hosts: "*", Proposal: "aes256-sha512"}, "aes256-sha512-esn"},
		{&operatorv1.PolicySpec{Hosts: "*", Proposal: "null-sha256-noesn"}, "null-sha256-noesn"},
		{&operatorv1.PolicySpec{Hosts: "*", Proposal: "3des-sha1", Insecure: true}, "3des-sha1-esn"},
	} {
		p, err := NewPolicy(&operatorv1.Policy{Spec: tt.spec})
		if err != nil || p.Transform.String() != tt.want {
			t.Errorf("%v: %v, %v, want %s", tt.spec, p.Transform, err, tt.want)
		}
	}
	if _, err := NewPolicy(&operatorv1.Policy{Spec: &operatorv1.PolicySpec{Hosts: "*", Proposal: "3des-sha1"}}); !errors.Is(err, transform.ErrInsecure) {
		t.Errorf("3des without insecure: %v", err)
	}
}
