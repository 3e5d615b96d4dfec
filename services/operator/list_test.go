package operator

import (
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

func namesOf(rs []*operatorv1.Resource) (out []string) {
	for _, r := range rs {
		_, md := kindOf(r)
		out = append(out, md.GetName())
	}
	return out
}

func (f *fleet) list(req *operatorv1.ListRequest) *operatorv1.ListResponse {
	f.t.Helper()
	resp, err := f.resources.List(f.ctx, req)
	if err != nil {
		f.t.Fatalf("list: %s", describeErr(err))
	}
	return resp
}

// TestListPagesShowOneRevision changes the fleet between the pages.
func TestListPagesShowOneRevision(t *testing.T) {
	f := newFleet(t)
	var want []string
	for i := range 25 {
		name := fmt.Sprintf("h-%02d", 24-i)
		f.create(hostResource(name, map[string]string{"odd": fmt.Sprint(i % 2)}))
		want = append(want, name)
	}
	slices.Sort(want)
	req := &operatorv1.ListRequest{Kind: kindHost, PageSize: 10}
	first := f.list(req)
	f.create(hostResource("h-10a", nil))
	if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindHost, Name: "h-20"}); err != nil {
		t.Fatal(describeErr(err))
	}
	got, sizes := namesOf(first.GetResources()), []int{len(first.GetResources())}
	for token := first.GetNextPageToken(); token != ""; {
		page := f.list(&operatorv1.ListRequest{Kind: kindHost, PageSize: 10, PageToken: token})
		if page.GetRevision() != first.GetRevision() {
			t.Errorf("a page shows revision %d, the first %d", page.GetRevision(), first.GetRevision())
		}
		got, sizes = append(got, namesOf(page.GetResources())...), append(sizes, len(page.GetResources()))
		token = page.GetNextPageToken()
	}
	if !slices.Equal(got, want) || !slices.Equal(sizes, []int{10, 10, 5}) {
		t.Errorf("pages of %v: %v, want %v", sizes, got, want)
	}
	if odd := f.list(&operatorv1.ListRequest{Kind: kindHost, Selector: "odd=1"}); len(odd.GetResources()) != 12 {
		t.Errorf("selector finds %v", namesOf(odd.GetResources()))
	}
	if full := f.list(&operatorv1.ListRequest{Kind: kindHost, PageSize: 25}); full.GetNextPageToken() != "" {
		t.Error("a page that holds everything has a next one")
	}
}

func TestPageTokens(t *testing.T) {
	f, other := newFleet(t), (*fleet)(nil)
	for i := range 3 {
		f.create(hostResource(fmt.Sprintf("h-%d", i), nil))
	}
	token := f.list(&operatorv1.ListRequest{Kind: kindHost, PageSize: 1}).GetNextPageToken()
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-20] ^= 1
	forged := base64.RawURLEncoding.EncodeToString(raw)
	other = newFleetOn(t, f.store)
	for _, tt := range []struct {
		name   string
		client operatorv1.ResourceServiceClient
		req    *operatorv1.ListRequest
		code   codes.Code
	}{
		{"no token", f.resources, &operatorv1.ListRequest{Kind: kindHost, PageToken: "abc"}, codes.InvalidArgument},
		{"not base64", f.resources, &operatorv1.ListRequest{Kind: kindHost, PageToken: "%%%"}, codes.InvalidArgument},
		{"another kind", f.resources, &operatorv1.ListRequest{Kind: kindPolicy, PageToken: token}, codes.InvalidArgument},
		{"another selector", f.resources, &operatorv1.ListRequest{Kind: kindHost, Selector: "a", PageToken: token}, codes.InvalidArgument},
		{"forged", f.resources, &operatorv1.ListRequest{Kind: kindHost, PageToken: forged}, codes.OutOfRange},
		{"another controller", other.resources, &operatorv1.ListRequest{Kind: kindHost, PageToken: token}, codes.OutOfRange},
		{"bad selector", f.resources, &operatorv1.ListRequest{Kind: kindHost, Selector: "(("}, codes.InvalidArgument},
	} {
		_, err := tt.client.List(f.ctx, tt.req)
		if got := refusalOf(err); got.code != tt.code {
			t.Errorf("%s: %+v, want %s", tt.name, got, tt.code)
		}
	}
	f.list(&operatorv1.ListRequest{Kind: kindHost, PageToken: token})
	f.clock.Store(int64(2 * pageSnapshotLife))
	_, err = f.resources.List(f.ctx, &operatorv1.ListRequest{Kind: kindHost, PageToken: token})
	wantRefusal(t, err, codes.OutOfRange, "list again")
}

func TestPageSnapshotsAreBounded(t *testing.T) {
	now := time.Unix(0, 0)
	p := newPages([32]byte{}, func() time.Time { return now })
	f := newFleet(t)
	var tokens []*operatorv1.ListRequest
	for i := range maxPageSnapshots + 1 {
		f.create(policyResource(fmt.Sprintf("p-%d", i), "*"))
		req := &operatorv1.ListRequest{Kind: kindPolicy}
		req.PageToken = p.token(f.view.Snapshot(), req, "p-0")
		tokens = append(tokens, req)
		now = now.Add(time.Millisecond)
	}
	if len(p.kept) != maxPageSnapshots {
		t.Errorf("%d snapshots are kept, want %d", len(p.kept), maxPageSnapshots)
	}
	if _, _, err := p.open(tokens[0]); err == nil {
		t.Error("the oldest snapshot is still there")
	}
	if _, after, err := p.open(tokens[1]); err != nil || after != "p-0" {
		t.Errorf("the next one: after %q, %v", after, err)
	}
}

// establish writes an SA pair of two hosts as the planner and the fleet service do.
func (f *fleet) establish(a, b string, number uint32, phase plan.Phase) plan.PairID {
	f.t.Helper()
	var pair plan.PairID
	g := plan.Generation{
		Phase: phase, ID: plan.SAID{0: 0xab, 15: byte(number)}, Incarnation: testIncarnation, SPIAB: 0x01000001, SPIBA: 0x01000002,
		Create: uint32(f.now().Unix()), Soft: uint32(f.now().Add(time.Hour).Unix()), Hard: uint32(f.now().Add(8 * time.Hour).Unix()),
		Transform: plan.Transform{ID: 20, KeyBits: 256, ESN: true},
	}
	f.feed.Read(func(s world.State) {
		x, _ := s.World.HostByName(a)
		y, _ := s.World.HostByName(b)
		pair = plan.PairOf(x.UID, y.UID)
		ha, _ := s.World.Host(pair.A())
		hb, _ := s.World.Host(pair.B())
		g.EpochA, g.EpochB = ha.Epoch, hb.Epoch
	})
	f.put(map[string]proto.Message{store.SAPhaseKey(store.PairID(pair), number): world.GenerationRecord(g)})
	return pair
}

func TestAssociations(t *testing.T) {
	f := newFleet(t)
	for i, name := range []string{"a", "b", "c"} {
		f.create(hostResource(name, nil))
		f.connect(name, byte(i+1))
	}
	f.create(policyResource("mesh", "*"))
	f.establish("a", "b", 1, plan.Draining)
	f.establish("a", "b", 2, plan.Established)
	f.establish("b", "c", 7, plan.Inbound)

	all := f.list(&operatorv1.ListRequest{Kind: kindSA})
	names := namesOf(all.GetResources())
	if len(names) != 6 || !slices.IsSorted(names) {
		t.Fatalf("associations %v, want six in order", names)
	}
	var paged []string
	for token, first := "", true; first || token != ""; first = false {
		page := f.list(&operatorv1.ListRequest{Kind: kindSA, PageSize: 1, PageToken: token})
		paged, token = append(paged, namesOf(page.GetResources())...), page.GetNextPageToken()
	}
	if !slices.Equal(paged, names) {
		t.Errorf("by pages of one %v, want %v", paged, names)
	}
	for _, r := range all.GetResources() {
		sa := r.GetSecurityAssociation()
		if got := f.get(kindSA, sa.GetMetadata().GetName()).GetSecurityAssociation(); !proto.Equal(got, sa) {
			t.Errorf("Get says %v, List %v", got, sa)
		}
		if st := sa.GetStatus(); st.GetSource() == st.GetDestination() || st.GetPolicy() != "mesh" || st.GetProposal() != "aes256gcm16-esn" || len(st.GetId()) != 32 {
			t.Errorf("association %v", st)
		}
	}
	found := f.list(&operatorv1.ListRequest{Kind: kindSA, Selector: "source=b,phase=established"}).GetResources()
	if len(found) != 1 || found[0].GetSecurityAssociation().GetStatus().GetDestination() != "a" || found[0].GetSecurityAssociation().GetStatus().GetGeneration() != 2 {
		t.Errorf("selected %v", found)
	}
	for _, name := range []string{"x", "a.b.c", names[0] + "x", names[0][:32] + ".1.a"} {
		_, err := f.resources.Get(f.ctx, &operatorv1.GetRequest{Kind: kindSA, Name: name})
		wantRefusal(t, err, codes.NotFound)
	}
	for _, name := range []string{"../../fleet", "a/b", "A_b", ""} {
		_, err := f.resources.Get(f.ctx, &operatorv1.GetRequest{Kind: kindHost, Name: name})
		wantRefusal(t, err, codes.NotFound)
	}
	h := f.get(kindHost, "b").GetHost().GetStatus()
	if h.GetPairsWanted() != 2 || h.GetPairsUp() != 1 || !h.GetConnected() || len(h.GetEpoch()) != 32 {
		t.Errorf("status of b: %v", h)
	}
	p := f.get(kindPolicy, "mesh").GetPolicy().GetStatus()
	if p.GetHostsSelected() != 3 || p.GetPairsWanted() != 3 || p.GetPairsUp() != 1 || len(p.GetConditions()) != 0 {
		t.Errorf("status of mesh: %v", p)
	}
}
