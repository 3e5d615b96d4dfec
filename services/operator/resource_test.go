package operator

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

func TestCreateStoresDefaults(t *testing.T) {
	f := newFleet(t)
	h := f.create(hostResource("web-1", map[string]string{"site": "a"}, "192.168.1.0/24")).GetHost()
	if md := h.GetMetadata(); md.GetRevision() == 0 || len(md.GetUid()) != 16 || md.GetCreateTime() == nil {
		t.Errorf("metadata %v lacks revision, uid or time", md)
	}
	if st := h.GetStatus(); st.GetNumber() != 2 || fmt.Sprint(st.GetAddresses()) != "[10.86.0.2 fd86::2]" {
		t.Errorf("status %v, want number 2 and its addresses", st)
	}
	if got := f.get(kindHost, "web-1"); !proto.Equal(got.GetHost(), h) {
		t.Errorf("Get returns\n%v\nCreate returned\n%v", got, h)
	}

	p := f.create(policyResource("mesh", "site=a")).GetPolicy()
	want := &operatorv1.PolicySpec{
		Hosts: "site=a", Start: "always", Proposal: "aes256gcm16",
		Lifetime: &operatorv1.PolicyLifetime{RekeyTime: durationpb.New(time.Hour), HardTime: durationpb.New(8 * time.Hour)},
	}
	if got := f.get(kindPolicy, "mesh").GetPolicy().GetSpec(); !proto.Equal(got, want) || !proto.Equal(p.GetSpec(), want) {
		t.Errorf("stored %v, returned %v, want %v", got, p.GetSpec(), want)
	}

	resp, err := f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: ofToken(&operatorv1.JoinToken{
		Metadata: &operatorv1.Metadata{}, Spec: &operatorv1.JoinTokenSpec{Host: "web-2"},
	})})
	if err != nil {
		t.Fatal(describeErr(err))
	}
	token := resp.GetResource().GetJoinToken()
	life := time.Until(token.GetSpec().GetExpireTime().AsTime())
	if token.GetSpec().GetMaxUses() != 1 || life < 23*time.Hour || life > 24*time.Hour || resp.GetJoinToken() == "" {
		t.Errorf("token %v, text %q: want one use, 24 h and a text", token, resp.GetJoinToken())
	}
}

func TestCreateRefuses(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("gw-1", nil, "192.168.1.0/24"))
	policy := func(change func(*operatorv1.PolicySpec)) *operatorv1.Resource {
		r := policyResource("p", "*")
		change(r.GetPolicy().GetSpec())
		return r
	}
	token := func(spec *operatorv1.JoinTokenSpec) *operatorv1.Resource {
		return ofToken(&operatorv1.JoinToken{Metadata: &operatorv1.Metadata{}, Spec: spec})
	}
	endpoint := func(e ...string) *operatorv1.Resource {
		r := hostResource("h", nil)
		r.GetHost().Spec.Endpoints = e
		return r
	}
	for _, tt := range []struct {
		name     string
		resource *operatorv1.Resource
		code     codes.Code
		field    string
		words    []string
	}{
		{"exists", hostResource("gw-1", nil), codes.AlreadyExists, "", []string{`Host "gw-1" exists`}},
		{"host bits", hostResource("h", nil, "10.1.2.3/24"), codes.InvalidArgument, "spec.subnets[0]", []string{"10.1.2.0/24"}},
		{"no prefix", hostResource("h", nil, "10.1.0.0/24", "ten"), codes.InvalidArgument, "spec.subnets[1]", []string{"CIDR"}},
		{"not canonical", hostResource("h", nil, "2001:DB8::/32"), codes.InvalidArgument, "spec.subnets[0]", []string{"2001:db8::/32"}},
		{"mapped", hostResource("h", nil, "::ffff:10.0.0.0/104"), codes.InvalidArgument, "spec.subnets[0]", []string{"IPv4"}},
		{"overlap", hostResource("h", nil, "10.0.0.0/24", "192.168.1.128/25"), codes.InvalidArgument, "spec.subnets[1]", []string{`host "gw-1"`, "192.168.1.0/24"}},
		{"overlap from above", hostResource("h", nil, "192.168.0.0/16"), codes.InvalidArgument, "spec.subnets[0]", []string{`host "gw-1"`}},
		{"overlap with itself", hostResource("h", nil, "172.16.0.0/12", "172.17.0.0/16"), codes.InvalidArgument, "spec.subnets[1]", []string{"same host"}},
		{"address pool", hostResource("h", nil, "10.86.4.0/24"), codes.InvalidArgument, "spec.subnets[0]", []string{"address pool 10.86.0.0/16"}},
		{"default route", hostResource("h", nil, "0.0.0.0/0"), codes.InvalidArgument, "spec.subnets[0]", []string{"default route"}},
		{"half of it", hostResource("h", nil, "128.0.0.0/1"), codes.InvalidArgument, "spec.subnets[0]", []string{"cannot be behind"}},
		{"multicast", hostResource("h", nil, "ff02::/16"), codes.InvalidArgument, "spec.subnets[0]", []string{"multicast"}},
		{"loopback", hostResource("h", nil, "127.1.0.0/16"), codes.InvalidArgument, "spec.subnets[0]", []string{"loopback"}},
		{"endpoint name", endpoint("gw.example.com"), codes.InvalidArgument, "spec.endpoints[0]", []string{"names are not resolved"}},
		{"endpoint port 0", endpoint("192.0.2.1", "192.0.2.1:0"), codes.InvalidArgument, "spec.endpoints[1]", []string{"port 0"}},
		{"endpoint loopback", endpoint("[::1]:4500"), codes.InvalidArgument, "spec.endpoints[0]", []string{"reach"}},
		{"endpoint zone", endpoint("fe80::1%eth0"), codes.InvalidArgument, "spec.endpoints[0]", []string{"zone"}},
		{"endpoint in the pool", endpoint("10.86.0.9"), codes.InvalidArgument, "spec.endpoints[0]", []string{"underlay"}},
		{"no name", hostResource("", nil), codes.InvalidArgument, "metadata.name", nil},
		{"bad name", hostResource("Web_1", nil), codes.InvalidArgument, "metadata.name", []string{"Web_1"}},
		{"a revision", ofHost(&operatorv1.Host{Metadata: &operatorv1.Metadata{Name: "h", Revision: 4}}), codes.InvalidArgument, "metadata.revision", nil},
		{"selector", policy(func(s *operatorv1.PolicySpec) { s.Hosts = "a in (" }), codes.InvalidArgument, "spec.hosts", []string{"position"}},
		{"no selector", policy(func(s *operatorv1.PolicySpec) { s.Hosts = " " }), codes.InvalidArgument, "spec.hosts", []string{`"*"`}},
		{"other selector", policy(func(s *operatorv1.PolicySpec) { s.To = "=x" }), codes.InvalidArgument, "spec.to", nil},
		{"lifetimes", policy(func(s *operatorv1.PolicySpec) {
			s.Lifetime = &operatorv1.PolicyLifetime{RekeyTime: durationpb.New(time.Hour), HardTime: durationpb.New(time.Hour)}
		}), codes.InvalidArgument, "spec.lifetime.hard_time", []string{"1h0m0s"}},
		{"default hard time", policy(func(s *operatorv1.PolicySpec) {
			s.Lifetime = &operatorv1.PolicyLifetime{RekeyTime: durationpb.New(9 * time.Hour)}
		}), codes.InvalidArgument, "spec.lifetime.hard_time", []string{"8h"}},
		{"bytes", policy(func(s *operatorv1.PolicySpec) {
			s.Lifetime = &operatorv1.PolicyLifetime{RekeyBytes: 5 << 30, HardBytes: 4 << 30}
		}), codes.InvalidArgument, "spec.lifetime.hard_bytes", nil},
		{"packets without rekey", policy(func(s *operatorv1.PolicySpec) {
			s.Lifetime = &operatorv1.PolicyLifetime{HardPackets: 1 << 30}
		}), codes.InvalidArgument, "spec.lifetime.rekey_packets", nil},
		{"token for all", token(&operatorv1.JoinTokenSpec{}), codes.InvalidArgument, "spec.host", []string{"name_prefix"}},
		{"token for one, twice", token(&operatorv1.JoinTokenSpec{Host: "h", MaxUses: 2}), codes.InvalidArgument, "spec.max_uses", nil},
		{"token for a bad name", token(&operatorv1.JoinTokenSpec{Host: "-h"}), codes.InvalidArgument, "spec.host", []string{`"-h"`}},
		{"token with a long prefix", token(&operatorv1.JoinTokenSpec{NamePrefix: strings.Repeat("a", 56)}), codes.InvalidArgument, "spec.name_prefix", []string{"at most 55"}},
		{"token of the past", token(&operatorv1.JoinTokenSpec{NamePrefix: "h-", ExpireTime: timestamppb.New(time.Unix(1, 0))}),
			codes.InvalidArgument, "spec.expire_time", []string{"past"}},
		{"token with a name", ofToken(&operatorv1.JoinToken{Metadata: &operatorv1.Metadata{Name: "mine"}, Spec: &operatorv1.JoinTokenSpec{Host: "h"}}),
			codes.InvalidArgument, "metadata.name", []string{"leave it out"}},
		{"association", ofSA(&operatorv1.SecurityAssociation{Metadata: &operatorv1.Metadata{Name: "x"}}), codes.InvalidArgument, "", []string{"read-only"}},
		{"event", ofEvent(&operatorv1.Event{Metadata: &operatorv1.Metadata{Name: "x"}}), codes.InvalidArgument, "", []string{"read-only"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, dryRun := range []bool{true, false} {
				_, err := f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: tt.resource, DryRun: dryRun})
				wantRefusal(t, err, tt.code, tt.words...)
				if r := refusalOf(err); tt.field != "" && (len(r.fields) != 1 || r.fields[0] != tt.field) {
					t.Errorf("blames %v, want %s", r.fields, tt.field)
				}
			}
		})
	}
	list, err := f.resources.List(f.ctx, &operatorv1.ListRequest{Kind: kindHost})
	if err != nil || len(list.GetResources()) != 1 {
		t.Errorf("%d hosts (%v) after nothing but refusals, want the first one", len(list.GetResources()), err)
	}
}

func TestDryRunWritesNothing(t *testing.T) {
	f := newFleet(t)
	made := f.create(hostResource("a", nil))
	head, err := f.store.HeadRevision(f.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: hostResource("b", nil), DryRun: true}); err != nil {
		t.Error(describeErr(err))
	}
	changed := proto.CloneOf(made)
	changed.GetHost().Metadata.Labels = map[string]string{"x": "y"}
	resp, err := f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: changed, DryRun: true})
	if err != nil || resp.GetResource().GetHost().GetMetadata().GetLabels()["x"] != "y" {
		t.Errorf("update: %v, %v", resp, err)
	}
	if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindHost, Name: "a", DryRun: true}); err != nil {
		t.Error(describeErr(err))
	}
	_, err = f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindHost, Name: "b", DryRun: true})
	wantRefusal(t, err, codes.NotFound, `"b"`)
	after, err := f.store.HeadRevision(f.ctx)
	if err != nil || after != head {
		t.Errorf("etcd went from revision %d to %d (%v)", head, after, err)
	}
}

func TestUpdate(t *testing.T) {
	f := newFleet(t)
	first := f.create(hostResource("gw", map[string]string{"a": "1"}, "192.168.1.0/24", "192.168.2.0/24"))
	f.create(hostResource("other", nil, "192.168.9.0/24"))

	same := proto.CloneOf(first)
	same.GetHost().Spec.Subnets = []string{"192.168.2.0/24", "192.168.1.0/24"}
	same.GetHost().Status = &operatorv1.HostStatus{Number: 99}
	resp, err := f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: same})
	if err != nil || resp.GetResource().GetHost().GetMetadata().GetRevision() != first.GetHost().GetMetadata().GetRevision() {
		t.Errorf("an update that says the same: %v, %v; want the same revision", resp, err)
	}

	change := proto.CloneOf(first)
	change.GetHost().Metadata.Labels = map[string]string{"b": "2"}
	change.GetHost().Spec.Subnets = []string{"192.168.2.0/24", "192.168.3.0/24"}
	change.GetHost().Status = nil
	resp, err = f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: change})
	if err != nil {
		t.Fatal(describeErr(err))
	}
	got, was := resp.GetResource().GetHost(), first.GetHost()
	if got.GetMetadata().GetRevision() <= was.GetMetadata().GetRevision() || got.GetMetadata().GetUid() != was.GetMetadata().GetUid() ||
		!got.GetMetadata().GetCreateTime().AsTime().Equal(was.GetMetadata().GetCreateTime().AsTime()) || got.GetStatus().GetNumber() != was.GetStatus().GetNumber() {
		t.Errorf("updated to %v, from %v", got, was)
	}
	if _, old := got.GetMetadata().GetLabels()["a"]; old {
		t.Error("a label that is not in the update is still there")
	}
	// The subnet that it gave up is free now, the one that it took is not.
	f.create(hostResource("heir", nil, "192.168.1.0/24"))
	_, err = f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: hostResource("thief", nil, "192.168.3.0/25")})
	wantRefusal(t, err, codes.InvalidArgument, `host "gw"`)

	if _, err := f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: change}); err != nil {
		t.Errorf("an update that changes nothing, with an old revision: %s", describeErr(err))
	}
	change.GetHost().Metadata.Labels = map[string]string{"c": "3"}
	_, err = f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: change})
	wantRefusal(t, err, codes.Aborted, fmt.Sprintf("revision %d", was.GetMetadata().GetRevision()), fmt.Sprintf("revision %d", got.GetMetadata().GetRevision()))

	again := hostResource("gw", nil)
	again.GetHost().Metadata.Uid = "0123456789abcdef"
	_, err = f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: again})
	wantRefusal(t, err, codes.Aborted, "uid")
	_, err = f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: hostResource("nobody", nil)})
	wantRefusal(t, err, codes.NotFound, `"nobody"`)
	overlapping := hostResource("gw", nil, "192.168.9.0/25")
	_, err = f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: overlapping})
	wantRefusal(t, err, codes.InvalidArgument, `host "other"`, "spec.subnets[0]")
}

// TestConcurrentUpdates: of writers with one revision exactly one wins.
func TestConcurrentUpdates(t *testing.T) {
	f := newFleet(t)
	second := newFleetOn(t, storetest.Another(t, f.store))
	made := f.create(hostResource("h", nil))
	if err := second.feed.WaitRevision(f.ctx, made.GetHost().GetMetadata().GetRevision()); err != nil {
		t.Fatal(err)
	}
	const writers = 10
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			r := proto.CloneOf(made)
			r.GetHost().Metadata.Labels = map[string]string{"writer": fmt.Sprint(i)}
			client := []*fleet{f, second}[i%2].resources
			_, errs[i] = client.Update(f.ctx, &operatorv1.UpdateRequest{Resource: r})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		wantRefusal(t, err, codes.Aborted, fmt.Sprintf("based on revision %d", made.GetHost().GetMetadata().GetRevision()), "is at revision")
	}
	if won != 1 {
		t.Errorf("%d writers won, want 1", won)
	}
}

// TestConcurrentCreates: two controllers make hosts at once; no address and no subnet is given twice.
func TestConcurrentCreates(t *testing.T) {
	f := newFleet(t)
	second := newFleetOn(t, storetest.Another(t, f.store))
	const hosts = 100
	var mu sync.Mutex
	addresses, overlaps := map[string]string{}, 0
	var wg sync.WaitGroup
	for i := range hosts {
		wg.Go(func() {
			// Every second one wants a subnet that overlaps its neighbour's.
			r := hostResource(fmt.Sprintf("h-%d", i), nil, fmt.Sprintf("172.16.%d.0/24", i/2))
			resp, err := []*fleet{f, second}[i%2].resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: r})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				wantRefusal(t, err, codes.InvalidArgument, "overlaps")
				overlaps++
				return
			}
			for _, a := range resp.GetResource().GetHost().GetStatus().GetAddresses() {
				if other, twice := addresses[a]; twice {
					t.Errorf("%s was given to %s and %s", a, other, r.GetHost().GetMetadata().GetName())
				}
				addresses[a] = r.GetHost().GetMetadata().GetName()
			}
		})
	}
	wg.Wait()
	if len(addresses) != hosts || overlaps != hosts/2 {
		t.Errorf("%d addresses and %d overlaps, want %d and %d", len(addresses), overlaps, hosts, hosts/2)
	}
	var pool controllerv1.AddressPool
	if _, err := store.Load(f.ctx, f.store, store.IPAMKey, &pool); err != nil || pool.GetNext() != 2+hosts/2 {
		t.Errorf("next number %d (%v), want %d: a refused host costs no number", pool.GetNext(), err, 2+hosts/2)
	}
}

// TestRefusalsAreNotStale: what another controller has just made possible is not refused.
func TestRefusalsAreNotStale(t *testing.T) {
	f := newFleet(t, withPools("10.1.0.0/29", "fd86::/64"))
	other := newFleetOn(t, storetest.Another(t, f.store), withPools("10.1.0.0/29", "fd86::/64"))
	f.create(hostResource("a", nil, "172.16.1.0/24"))
	for range 10 {
		other.remove(kindHost, "a")
		other.clock.Add(int64(2 * defaultQuarantine))
		f.clock.Add(int64(2 * defaultQuarantine))
		f.create(hostResource("b", nil, "172.16.1.0/25"))
		other.create(hostResource("c", nil, "172.16.2.0/24"))
		other.remove(kindHost, "b")
		other.remove(kindHost, "c")
		f.create(hostResource("a", nil, "172.16.1.0/24"))
		other.update(hostResource("a", map[string]string{"x": "y"}, "172.16.1.0/24"))
	}
}

func TestAddressPoolFull(t *testing.T) {
	f := newFleet(t, withPools("10.1.0.0/29", "fd86::/64"))
	for i := range 5 {
		f.create(hostResource(fmt.Sprintf("h-%d", i), nil))
	}
	_, err := f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: hostResource("h-5", nil)})
	wantRefusal(t, err, codes.ResourceExhausted, "10.1.0.0/29", "delete hosts")

	if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindHost, Name: "h-2"}); err != nil {
		t.Fatal(describeErr(err))
	}
	_, err = f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: hostResource("h-5", nil)})
	wantRefusal(t, err, codes.ResourceExhausted, "rest")
	f.clock.Store(int64(defaultQuarantine + time.Minute))
	if got := f.create(hostResource("h-5", nil)).GetHost().GetStatus().GetNumber(); got != 4 {
		t.Errorf("number %d, want the released 4", got)
	}
}

// TestQuarantineCoversLongLifetimes: the address of a host rests as long as any key may live.
func TestQuarantineCoversLongLifetimes(t *testing.T) {
	f := newFleet(t)
	long := policyResource("long", "*")
	long.GetPolicy().Spec.Lifetime = &operatorv1.PolicyLifetime{HardTime: durationpb.New(48 * time.Hour)}
	f.create(long)
	f.create(hostResource("h", nil))
	if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindHost, Name: "h"}); err != nil {
		t.Fatal(describeErr(err))
	}
	var pool controllerv1.AddressPool
	if _, err := store.Load(f.ctx, f.store, store.IPAMKey, &pool); err != nil || len(pool.GetReleased()) != 1 {
		t.Fatalf("pool %v, %v", &pool, err)
	}
	if rest := time.Until(pool.GetReleased()[0].GetFreeTime().AsTime()); rest < 48*time.Hour || rest > 50*time.Hour {
		t.Errorf("the number rests %v, want 49 h", rest)
	}
}

func TestDeleteHost(t *testing.T) {
	f := newFleet(t)
	made := f.create(hostResource("gone", nil, "192.168.1.0/24"))
	uid := made.GetHost().GetMetadata().GetUid()
	f.connect("gone", 1)
	f.put(map[string]proto.Message{"identity/host/gone": &controllerv1.HostIdentity{TokenId: "x"}})
	var tokens []string
	for range 20 {
		resp, err := f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: ofToken(&operatorv1.JoinToken{
			Metadata: &operatorv1.Metadata{}, Spec: &operatorv1.JoinTokenSpec{Host: "gone"},
		})})
		if err != nil {
			t.Fatal(describeErr(err))
		}
		tokens = append(tokens, resp.GetResource().GetJoinToken().GetMetadata().GetName())
	}
	_, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindHost, Name: "gone", Revision: 1})
	wantRefusal(t, err, codes.Aborted, "revision 1")
	if _, ok := f.view.Get("identity/token/" + tokens[0]); !ok {
		t.Fatal("a refused deletion took a token")
	}
	if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{
		Kind: kindHost, Name: "gone", Revision: made.GetHost().GetMetadata().GetRevision(),
	}); err != nil {
		t.Fatal(describeErr(err))
	}
	for _, prefix := range []string{"spec/host/", "status/host/", "identity/host/", "epoch/", "spec/jointoken/", "identity/token/"} {
		f.view.Range(prefix, func(kv store.KV) bool {
			t.Errorf("%s is still there", kv.Key)
			return true
		})
	}
	if kv, ok := f.view.Get("intent/host/gone"); !ok || string(kv.Value) != uid || kv.Lease == 0 {
		t.Errorf("intent %q (lease %d), want uid %s with a lease", kv.Value, kv.Lease, uid)
	}
	audit, err := os.ReadFile(f.auditPath)
	if err != nil || !strings.Contains(string(audit), `"kind":"host-removed","name":"gone"`) ||
		strings.Count(string(audit), `"kind":"token-revoked"`) != len(tokens) || strings.Contains(string(audit), `"void"`) {
		t.Errorf("audit file (%v):\n%s", err, audit)
	}
	events, err := f.resources.List(f.ctx, &operatorv1.ListRequest{Kind: kindEvent})
	if err != nil || len(events.GetResources()) != 1 || events.GetResources()[0].GetEvent().GetStatus().GetReason() != "HostRemoved" {
		t.Errorf("events %v, %v, want one HostRemoved", events, err)
	}
	again := f.create(hostResource("gone", nil, "192.168.1.0/24")).GetHost()
	if again.GetMetadata().GetUid() == uid || again.GetStatus().GetNumber() == made.GetHost().GetStatus().GetNumber() {
		t.Errorf("made again it is %v, with the uid or the number of the old one", again)
	}
	_, err = f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindSA, Name: "x"})
	wantRefusal(t, err, codes.InvalidArgument, "read-only")
}

// TestStatusNeverMovesRevision: what is, is another key than what is wanted.
func TestStatusNeverMovesRevision(t *testing.T) {
	f := newFleet(t)
	h := f.create(hostResource("h", nil)).GetHost()
	p := f.create(policyResource("p", "*")).GetPolicy()
	f.connect("h", 1)
	if _, err := f.admin.Rekey(f.ctx, &operatorv1.RekeyRequest{Target: &operatorv1.RekeyRequest_Host{Host: "h"}}); err != nil {
		t.Fatal(describeErr(err))
	}
	if _, err := f.admin.Rekey(f.ctx, &operatorv1.RekeyRequest{Target: &operatorv1.RekeyRequest_All{All: true}}); err != nil {
		t.Fatal(describeErr(err))
	}
	gotHost, gotPolicy := f.get(kindHost, "h").GetHost(), f.get(kindPolicy, "p").GetPolicy()
	if gotHost.GetStatus().GetRekeyBefore() == nil || !gotHost.GetStatus().GetConnected() || gotHost.GetStatus().GetNumber() != 2 ||
		gotPolicy.GetStatus().GetRekeyBefore() == nil {
		t.Fatalf("statuses %v and %v did not change", gotHost.GetStatus(), gotPolicy.GetStatus())
	}
	if gotHost.GetMetadata().GetRevision() != h.GetMetadata().GetRevision() || gotPolicy.GetMetadata().GetRevision() != p.GetMetadata().GetRevision() {
		t.Errorf("revisions moved from %d and %d to %d and %d", h.GetMetadata().GetRevision(), p.GetMetadata().GetRevision(),
			gotHost.GetMetadata().GetRevision(), gotPolicy.GetMetadata().GetRevision())
	}
	h.Metadata.Labels = map[string]string{"still": "valid"}
	if _, err := f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: ofHost(h)}); err != nil {
		t.Errorf("an update with the old revision: %s", describeErr(err))
	}
}

func TestTokenUpdateAndDelete(t *testing.T) {
	f := newFleet(t)
	resp, err := f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: ofToken(&operatorv1.JoinToken{
		Metadata: &operatorv1.Metadata{}, Spec: &operatorv1.JoinTokenSpec{NamePrefix: "web-", MaxUses: 5},
	})})
	if err != nil {
		t.Fatal(describeErr(err))
	}
	token := resp.GetResource()
	name := token.GetJoinToken().GetMetadata().GetName()
	token.GetJoinToken().Spec.MaxUses = 2
	updated, err := f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: token})
	if err != nil || updated.GetResource().GetJoinToken().GetSpec().GetMaxUses() != 2 {
		t.Errorf("updated to %v, %v", updated, err)
	}
	token = updated.GetResource()
	token.GetJoinToken().Spec.NamePrefix = "db-"
	_, err = f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: token})
	wantRefusal(t, err, codes.InvalidArgument, "another one")
	if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindToken, Name: name}); err != nil {
		t.Fatal(describeErr(err))
	}
	if _, ok := f.view.Get("identity/token/" + name); ok {
		t.Error("the secret is still there")
	}
}

func TestEnsureHost(t *testing.T) {
	f := newFleet(t)
	var wg sync.WaitGroup
	uids := make([]string, 8)
	for i := range uids {
		wg.Go(func() {
			uid, err := f.service.EnsureHost(f.ctx, "joiner", map[string]string{"via": "token"})
			if err != nil {
				t.Error(err)
			}
			uids[i] = fmt.Sprintf("%x", uid)
		})
	}
	wg.Wait()
	h := f.get(kindHost, "joiner").GetHost()
	for _, uid := range uids {
		if uid != h.GetMetadata().GetUid() {
			t.Errorf("uid %s, want %s", uid, h.GetMetadata().GetUid())
		}
	}
	if h.GetMetadata().GetLabels()["via"] != "token" || len(h.GetStatus().GetAddresses()) != 2 {
		t.Errorf("host %v", h)
	}
	if _, err := f.service.EnsureHost(f.ctx, "joiner", map[string]string{"via": "another"}); err != nil {
		t.Error(err)
	}
	if got := f.get(kindHost, "joiner").GetHost(); got.GetMetadata().GetRevision() != h.GetMetadata().GetRevision() {
		t.Error("a host that existed was changed")
	}
	if _, err := f.service.EnsureHost(f.ctx, "../etc", nil); err == nil {
		t.Error("a bad name was accepted")
	}
}
