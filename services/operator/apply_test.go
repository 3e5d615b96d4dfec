package operator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/store"
)

const (
	created   = operatorv1.ApplyAction_APPLY_ACTION_CREATED
	updated   = operatorv1.ApplyAction_APPLY_ACTION_UPDATED
	unchanged = operatorv1.ApplyAction_APPLY_ACTION_UNCHANGED
	removed   = operatorv1.ApplyAction_APPLY_ACTION_DELETED
	failed    = operatorv1.ApplyAction_APPLY_ACTION_FAILED
)

func (f *fleet) apply(req *operatorv1.ApplyRequest) []*operatorv1.ApplyResponse_Result {
	f.t.Helper()
	resp, err := f.resources.Apply(f.ctx, req, grpc.MaxCallRecvMsgSize(64<<20))
	if err != nil {
		f.t.Fatalf("apply: %s", describeErr(err))
	}
	return resp.GetResults()
}

// actions is what became of each resource, in one line.
func actions(results []*operatorv1.ApplyResponse_Result) string {
	var out []string
	for _, r := range results {
		action := strings.ToLower(strings.TrimPrefix(r.GetAction().String(), "APPLY_ACTION_"))
		out = append(out, fmt.Sprintf("%s/%s %s", kindName(r.GetKind()), r.GetName(), action))
	}
	return strings.Join(out, ", ")
}

func TestApplyAtOnce(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("a", nil, "172.16.1.0/24"))
	f.create(hostResource("b", nil, "172.16.2.0/24"))
	keep := f.create(policyResource("keep", "*"))
	set := []*operatorv1.Resource{
		hostResource("a", nil, "172.16.2.0/24"), // a and b exchange their subnets
		hostResource("b", nil, "172.16.1.0/24"),
		hostResource("c", map[string]string{"site": "c"}),
		policyResource("keep", "*"),
		policyResource("nobody", "site=nowhere"),
		policyResource("single", "site=c"),
	}
	head, err := f.store.HeadRevision(f.ctx)
	if err != nil {
		t.Fatal(err)
	}
	dry := f.apply(&operatorv1.ApplyRequest{Resources: set, DryRun: true})
	want := "Host/a updated, Host/b updated, Host/c created, Policy/keep unchanged, Policy/nobody created, Policy/single created"
	if got := actions(dry); got != want {
		t.Errorf("dry run: %s, want %s", got, want)
	}
	if b, a := dry[0].GetBefore().GetHost(), dry[0].GetAfter().GetHost(); b.GetSpec().GetSubnets()[0] != "172.16.1.0/24" || a.GetSpec().GetSubnets()[0] != "172.16.2.0/24" {
		t.Errorf("dry run shows a before %v and after %v", b, a)
	}
	if now, err := f.store.HeadRevision(f.ctx); err != nil || now != head {
		t.Fatalf("the dry run wrote: revision %d, was %d (%v)", now, head, err)
	}

	results := f.apply(&operatorv1.ApplyRequest{Resources: set})
	if got := actions(results); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if w := results[4].GetWarnings(); len(w) != 1 || !strings.Contains(w[0], "no host") {
		t.Errorf("a policy for nobody warns %q", w)
	}
	if w := results[5].GetWarnings(); len(w) != 1 || !strings.Contains(w[0], "one host only") {
		t.Errorf("a policy for one host warns %q", w)
	}
	revision := results[0].GetAfter().GetHost().GetMetadata().GetRevision()
	for _, i := range []int{0, 1, 2, 4, 5} {
		if _, md := kindOf(results[i].GetAfter()); md.GetRevision() != revision || revision == 0 {
			t.Errorf("result %d has revision %d, want %d: one transaction", i, md.GetRevision(), revision)
		}
	}
	if got := f.get(kindPolicy, "keep").GetPolicy().GetMetadata().GetRevision(); got != keep.GetPolicy().GetMetadata().GetRevision() {
		t.Error("an unchanged policy was written")
	}
	if got := actions(f.apply(&operatorv1.ApplyRequest{Resources: set})); strings.Count(got, "unchanged") != len(set) {
		t.Errorf("applied again: %s, want all unchanged", got)
	}
	// What this process remembers of the subnets is right after all that.
	_, err = f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: hostResource("d", nil, "172.16.1.0/24")})
	wantRefusal(t, err, codes.InvalidArgument, `host "b"`)
}

func TestApplyRefuses(t *testing.T) {
	f := newFleet(t)
	there := f.create(hostResource("there", nil, "172.16.0.0/24")).GetHost().GetMetadata()
	stale := hostResource("there", map[string]string{"x": "y"})
	stale.GetHost().Metadata.Revision = there.GetRevision() - 1
	ghost := hostResource("ghost", nil)
	ghost.GetHost().Metadata.Revision = 3
	good := hostResource("good", nil)
	for _, tt := range []struct {
		name  string
		req   *operatorv1.ApplyRequest
		code  codes.Code
		field string
		words []string
	}{
		{"twice", &operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{good, policyResource("good", "*"), good}},
			codes.InvalidArgument, "resources[2].host.metadata.name", []string{"resources[0]"}},
		{"join token", &operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{good, ofToken(&operatorv1.JoinToken{Metadata: &operatorv1.Metadata{}})}},
			codes.InvalidArgument, "resources[1]", []string{"sallyport join-token create"}},
		{"association", &operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{good, ofSA(&operatorv1.SecurityAssociation{Metadata: &operatorv1.Metadata{Name: "x"}})}},
			codes.InvalidArgument, "", []string{"read-only"}},
		{"overlap in the set", &operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{
			hostResource("x", nil, "172.20.0.0/16"), hostResource("y", nil, "172.21.0.0/16", "172.20.5.0/24")}},
			codes.InvalidArgument, "resources[1].host.spec.subnets[1]", []string{`host "x"`, `Host "y"`}},
		{"overlap with the fleet", &operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{good, hostResource("x", nil, "172.16.0.0/16")}},
			codes.InvalidArgument, "resources[1].host.spec.subnets[0]", []string{`host "there"`}},
		{"a bad policy after good hosts", &operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{good, policyResource("p", "a b")}},
			codes.InvalidArgument, "resources[1].policy.spec.hosts", nil},
		{"an old revision", &operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{good, stale}},
			codes.Aborted, "metadata.revision", []string{fmt.Sprint(there.GetRevision()), fmt.Sprint(there.GetRevision() - 1)}},
		{"a revision of nothing", &operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{good, ghost}},
			codes.Aborted, "metadata.revision", []string{"does not exist"}},
		{"prune without selector", &operatorv1.ApplyRequest{Prune: true}, codes.InvalidArgument, "prune_selector", nil},
		{"selector without prune", &operatorv1.ApplyRequest{PruneSelector: "*"}, codes.InvalidArgument, "prune_selector", nil},
		{"bad selector", &operatorv1.ApplyRequest{Prune: true, PruneSelector: "(("}, codes.InvalidArgument, "prune_selector", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := f.resources.Apply(f.ctx, tt.req)
			wantRefusal(t, err, tt.code, tt.words...)
			if r := refusalOf(err); tt.field != "" && !slices.Contains(r.fields, tt.field) {
				t.Errorf("blames %v, want %s", r.fields, tt.field)
			}
			if _, written := f.view.Get("spec/host/good"); written {
				t.Error("a refused apply wrote something")
			}
		})
	}
}

func TestApplyReportsEveryField(t *testing.T) {
	f := newFleet(t)
	_, err := f.resources.Apply(f.ctx, &operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{
		hostResource("x", nil, "10.1.1.1/24", "ten"), policyResource("p", "=="),
	}})
	r := refusalOf(err)
	want := []string{"resources[0].host.spec.subnets[0]", "resources[0].host.spec.subnets[1]", "resources[1].policy.spec.hosts"}
	if r.code != codes.InvalidArgument || !slices.Equal(r.fields, want) {
		t.Errorf("%+v, want the fields %v", r, want)
	}
}

func TestPrune(t *testing.T) {
	f := newFleet(t)
	mine := map[string]string{"owner": "me"}
	f.create(hostResource("old", mine, "172.16.1.0/24"))
	f.create(hostResource("kept", mine))
	f.create(hostResource("foreign", nil))
	policy := policyResource("old-policy", "*")
	policy.GetPolicy().Metadata.Labels = mine
	f.create(policy)
	req := &operatorv1.ApplyRequest{
		Resources: []*operatorv1.Resource{hostResource("kept", mine), hostResource("new", mine, "172.16.1.0/25")},
		Prune:     true, PruneSelector: "owner=me", DryRun: true,
	}
	want := "Host/kept unchanged, Host/new created, Host/old deleted, Policy/old-policy deleted"
	if got := actions(f.apply(req)); got != want {
		t.Errorf("dry run: %s, want %s", got, want)
	}
	if _, there := f.view.Get("spec/host/old"); !there {
		t.Fatal("the dry run pruned")
	}
	req.DryRun = false
	results := f.apply(req)
	if got := actions(results); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if results[2].GetBefore().GetHost().GetMetadata().GetName() != "old" || results[2].GetAfter() != nil {
		t.Errorf("pruned result %v", results[2])
	}
	list, err := f.resources.List(f.ctx, &operatorv1.ListRequest{Kind: kindHost})
	if err != nil || len(list.GetResources()) != 3 {
		t.Errorf("%d hosts, %v, want foreign, kept and new", len(list.GetResources()), err)
	}
}

// TestPruneManyHosts prunes more than one transaction takes; a set of few resources then has a result
// each, too.
func TestPruneManyHosts(t *testing.T) {
	f := newFleet(t)
	old := map[string]string{"old": "yes"}
	for i := range 30 {
		f.create(hostResource(fmt.Sprintf("h-%02d", i), old, fmt.Sprintf("172.16.%d.0/24", i)))
	}
	results := f.apply(&operatorv1.ApplyRequest{
		Resources: []*operatorv1.Resource{hostResource("heir", nil, "172.16.0.0/19")}, Prune: true, PruneSelector: "old",
	})
	if len(results) != 31 || results[0].GetAction() != created || results[30].GetAction() != removed || results[0].GetAfter().GetHost().GetMetadata().GetRevision() == 0 {
		t.Errorf("results %s", actions(results))
	}
}

func many(n int) []*operatorv1.Resource {
	var set []*operatorv1.Resource
	for i := range n {
		set = append(set, hostResource(fmt.Sprintf("h-%03d", i), map[string]string{"n": fmt.Sprint(i)}, fmt.Sprintf("172.%d.%d.0/24", 16+i/250, i%250)))
	}
	return set
}

// TestApplyEach writes more than one transaction takes; what fails is reported, and applying again does
// the rest and nothing else.
func TestApplyEach(t *testing.T) {
	f := newFleet(t)
	set := append(many(60), policyResource("mesh", "*"))
	// Host 7 is to take the subnet that host 50 has until it is written.
	first := f.create(hostResource("h-050", nil, "172.16.7.0/24"))
	bad := proto.CloneOf(set[20])
	bad.GetHost().Spec.Subnets = []string{"172.16.7.0/25"}
	_, err := f.resources.Apply(f.ctx, &operatorv1.ApplyRequest{Resources: append(slices.Clone(set[:20]), append([]*operatorv1.Resource{bad}, set[21:]...)...)})
	wantRefusal(t, err, codes.InvalidArgument, `host "h-007"`, "nothing was written")
	if _, written := f.view.Get("spec/host/h-000"); written {
		t.Fatal("a set with a bad member was written in part")
	}

	results := f.apply(&operatorv1.ApplyRequest{Resources: set})
	for i, r := range results {
		want := created
		if i == 50 {
			want = updated
		}
		if r.GetAction() != want || r.GetError() != "" {
			t.Errorf("%s: %s %s, want %s", r.GetName(), r.GetAction(), r.GetError(), want)
		}
	}
	if got := f.get(kindHost, "h-050").GetHost(); got.GetMetadata().GetUid() != first.GetHost().GetMetadata().GetUid() {
		t.Error("host 50 is another one now")
	}
	for i, r := range f.apply(&operatorv1.ApplyRequest{Resources: set}) {
		if r.GetAction() != unchanged {
			t.Errorf("again: result %d is %s %s", i, r.GetAction(), r.GetError())
		}
	}
}

// TestApplyEachFailsInPart has the address pool run full between the check and the writes.
func TestApplyEachFailsInPart(t *testing.T) {
	f := newFleet(t, withPools("10.1.0.0/26", "fd86::/64")) // 61 hosts
	set := many(50)
	a, err := parseApply(&operatorv1.ApplyRequest{Resources: set})
	if err == nil {
		err = f.service.checkEach(f.ctx, a)
	}
	if err != nil {
		t.Fatal(err)
	}
	const taken = 31
	for i := range taken { // others are at work, too
		f.create(hostResource(fmt.Sprintf("other-%d", i), nil))
	}
	f.service.writeEach(f.ctx, a)
	results := a.response().GetResults()
	count := map[operatorv1.ApplyAction]int{}
	for _, r := range results {
		count[r.GetAction()]++
		if r.GetAction() == failed && !strings.Contains(r.GetError(), "10.1.0.0/26") {
			t.Errorf("%s failed with %q", r.GetName(), r.GetError())
		}
	}
	if count[created] != 30 || count[failed] != 20 {
		t.Fatalf("%v, want 30 created and 20 failed", count)
	}
	for i := range taken {
		if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindHost, Name: fmt.Sprintf("other-%d", i)}); err != nil {
			t.Fatal(describeErr(err))
		}
	}
	f.clock.Store(int64(defaultQuarantine * 2))
	again := f.apply(&operatorv1.ApplyRequest{Resources: set})
	count = map[operatorv1.ApplyAction]int{}
	for _, r := range again {
		count[r.GetAction()]++
	}
	if count[unchanged] != 30 || count[created] != 20 {
		t.Errorf("again: %v, want 30 unchanged and 20 created", count)
	}
	seen := map[string]string{}
	f.view.Range("status/host/", func(kv store.KV) bool {
		var st operatorv1.HostStatus
		if err := store.Decode(kv, &st); err != nil {
			t.Error(err)
		}
		if other, twice := seen[st.GetAddresses()[0]]; twice {
			t.Errorf("%s belongs to %s and %s", st.GetAddresses()[0], other, kv.Key)
		}
		seen[st.GetAddresses()[0]] = kv.Key
		return true
	})
}
