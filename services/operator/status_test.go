package operator

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
	"sallyport.dev/sallyport/services/world"
)

func (f *fleet) status(req *operatorv1.GetStatusRequest) *operatorv1.GetStatusResponse {
	f.t.Helper()
	resp, err := f.admin.GetStatus(f.ctx, req)
	if err != nil {
		f.t.Fatalf("status: %s", describeErr(err))
	}
	return resp
}

func warns(s *operatorv1.GetStatusResponse, words ...string) bool {
	for _, line := range s.GetWarnings() {
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, word)
		}
		if all {
			return true
		}
	}
	return false
}

func TestGetStatus(t *testing.T) {
	f := newFleet(t)
	for i, name := range []string{"a", "b", "c", "d"} {
		f.create(hostResource(name, nil))
		if name != "d" {
			f.connect(name, byte(i+1))
		}
	}
	f.create(policyResource("mesh", "*"))
	f.establish("a", "b", 3, plan.Established)
	f.establish("a", "c", 1, plan.Inbound)

	s := f.status(&operatorv1.GetStatusRequest{})
	if s.GetHosts() != 4 || s.GetHostsConnected() != 3 || s.GetPairsWanted() != 6 || s.GetPairsUp() != 1 {
		t.Errorf("hosts %d, connected %d, pairs %d, up %d; want 4 3 6 1", s.GetHosts(), s.GetHostsConnected(), s.GetPairsWanted(), s.GetPairsUp())
	}
	if len(s.GetPairs()) != 5 {
		t.Fatalf("%d pairs are described, want the 5 that are not up", len(s.GetPairs()))
	}
	reasons := map[string]string{}
	for _, p := range s.GetPairs() {
		if p.GetUp() || p.GetPolicy() != "mesh" || p.GetHostA() >= p.GetHostB() {
			t.Errorf("pair %v", p)
		}
		reasons[p.GetHostA()+"-"+p.GetHostB()] = p.GetReason()
	}
	if !strings.Contains(reasons["a-c"], "waiting for the acknowledgement of the inbound SA") || !strings.Contains(reasons["a-d"], "host d has never connected") {
		t.Errorf("reasons %v", reasons)
	}
	all := f.status(&operatorv1.GetStatusRequest{AllPairs: true}).GetPairs()
	if len(all) != 6 || !all[5].GetUp() || all[5].GetReason() != "" || all[5].GetGeneration() != 3 || all[5].GetHardTime() == nil {
		t.Errorf("all pairs %v, want the one that is up last", all)
	}
	if few := f.status(&operatorv1.GetStatusRequest{MaxPairs: 2, AllPairs: true}).GetPairs(); len(few) != 2 {
		t.Errorf("%d pairs, want 2", len(few))
	}
	c := s.GetController()
	if c.GetName() != "controller-1" || c.GetTrustDomain() != "fleet.test" || c.GetIncarnation() != testIncarnation || len(c.GetRootHash()) != 64 || c.GetPlanner() != "" {
		t.Errorf("controller %v", c)
	}
	if st := s.GetStore(); st.GetRevision() == 0 || st.GetDbSize() == 0 || st.GetQuota() == 0 || len(st.GetAlarms()) != 0 {
		t.Errorf("store %v", st)
	}
	if !warns(s, "no controller plans") || !warns(s, "host d", "not connected") || warns(s, "keys", "late") || s.GetPairsHeld() != 0 {
		t.Errorf("warnings %q", s.GetWarnings())
	}
}

func TestStatusWarnings(t *testing.T) {
	f := newFleet(t)
	leadership, err := f.store.Campaign(f.ctx, "planner-1", "controller-9")
	if err != nil {
		t.Fatal(err)
	}
	f.create(hostResource("late", nil))
	f.create(hostResource("twin", nil))
	f.put(map[string]proto.Message{
		"identity/host/late": &controllerv1.HostIdentity{NotAfter: timestamppb.New(f.now().Add(time.Hour))},
		"identity/host/twin": &controllerv1.HostIdentity{NotAfter: timestamppb.New(f.now().Add(20 * time.Hour))},
		"status/host/twin": &operatorv1.HostStatus{Number: 3, Conditions: []*operatorv1.Condition{
			{Type: "DuplicateIdentity", Message: "two machines have this host's key"},
		}},
	})
	s := f.status(&operatorv1.GetStatusRequest{})
	if s.GetController().GetPlanner() != "controller-9" || warns(s, "no controller plans") {
		t.Errorf("planner %q, warnings %q", s.GetController().GetPlanner(), s.GetWarnings())
	}
	if !warns(s, "certificates of host late end") || warns(s, "certificates", "twin") || !warns(s, "host twin", "DuplicateIdentity") {
		t.Errorf("warnings %q", s.GetWarnings())
	}
	if err := leadership.Resign(f.ctx); err != nil {
		t.Fatal(err)
	}

	f.service.halted = func() string { return "the store is older than what host a has seen" }
	if s := f.status(&operatorv1.GetStatusRequest{}); !warns(s, "agents are told nothing", "host a has seen") {
		t.Errorf("a halted delivery goes unmentioned: %q", s.GetWarnings())
	}

	var w warnings
	w.store(&operatorv1.StoreStatus{DbSize: 81 << 20, Quota: 100 << 20, Alarms: []string{"NOSPACE", "CORRUPT"}}, store.Status{}, nil)
	got := &operatorv1.GetStatusResponse{Warnings: w.lines}
	if !warns(got, "81 MiB", "100 MiB") || !warns(got, "out of space") || !warns(got, "CORRUPT") || len(w.lines) != 3 {
		t.Errorf("warnings %q", w.lines)
	}
	w = warnings{}
	w.store(&operatorv1.StoreStatus{DbSize: 79 << 20, Quota: 100 << 20}, store.Status{}, nil)
	if len(w.lines) != 0 {
		t.Errorf("a store that is well warns %q", w.lines)
	}
}

func TestLateKeysWarn(t *testing.T) {
	f := newFleet(t)
	for i, name := range []string{"a", "b"} {
		f.create(hostResource(name, nil))
		f.connect(name, byte(i+1))
	}
	f.create(policyResource("mesh", "*"))
	f.establish("a", "b", 1, plan.Established)
	f.clock.Store(int64(5 * time.Hour))
	if s := f.status(&operatorv1.GetStatusRequest{}); warns(s, "late") {
		t.Errorf("with three hours left: %q", s.GetWarnings())
	}
	f.clock.Store(int64(7 * time.Hour))
	if s := f.status(&operatorv1.GetStatusRequest{}); !warns(s, "the next keys of 1 pair are late", "stops at") {
		t.Errorf("with one hour left: %q", s.GetWarnings())
	}
}

// TestConfirmDeletions: the generations are younger than every change that could explain why nobody wants
// their pairs.
func TestConfirmDeletions(t *testing.T) {
	f := newFleet(t)
	for i, name := range []string{"a", "b", "c"} {
		f.create(hostResource(name, nil))
		f.connect(name, byte(i+1))
	}
	confirm := func(req *operatorv1.ConfirmDeletionsRequest) uint64 {
		t.Helper()
		resp, err := f.admin.ConfirmDeletions(f.ctx, req)
		if err != nil {
			t.Fatal(describeErr(err))
		}
		return resp.GetPairs()
	}
	host := func(name string) *operatorv1.ConfirmDeletionsRequest {
		return &operatorv1.ConfirmDeletionsRequest{Target: &operatorv1.ConfirmDeletionsRequest_Host{Host: name}}
	}
	all := &operatorv1.ConfirmDeletionsRequest{Target: &operatorv1.ConfirmDeletionsRequest_All{All: true}}
	intents := func() int {
		kvs, _, err := f.store.List(f.ctx, store.IntentPrefix+world.IntentConfirm+"/", store.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return len(kvs)
	}
	// Nothing waits: no word is kept that would let a later deletion pass.
	if n := confirm(all) + confirm(host("a")); n != 0 || intents() != 0 {
		t.Errorf("%d pairs confirmed, %d records; want none", n, intents())
	}
	f.establish("a", "b", 1, plan.Established)
	f.establish("b", "c", 1, plan.Established)
	s := f.status(&operatorv1.GetStatusRequest{})
	if s.GetPairsHeld() != 2 || !warns(s, "no policy wants 2 pairs of 3 hosts: a, b, c", "confirm-deletions") {
		t.Errorf("held %d, warnings %q", s.GetPairsHeld(), s.GetWarnings())
	}
	if n := confirm(host("c")); n != 1 || intents() != 1 {
		t.Errorf("%d pairs of c confirmed, %d records; want 1 each", n, intents())
	}
	if n := f.status(&operatorv1.GetStatusRequest{}).GetPairsHeld(); n != 1 {
		t.Errorf("%d pairs are held after one was confirmed; want 1", n)
	}
	if n := confirm(all); n != 1 {
		t.Errorf("%d pairs confirmed, want the one that is left", n)
	}
	if s := f.status(&operatorv1.GetStatusRequest{}); s.GetPairsHeld() != 0 || warns(s, "no policy wants") {
		t.Errorf("held %d, warnings %q", s.GetPairsHeld(), s.GetWarnings())
	}
	_, err := f.admin.ConfirmDeletions(f.ctx, host("ALL"))
	wantRefusal(t, err, codes.NotFound, "ALL")
	_, err = f.admin.ConfirmDeletions(f.ctx, &operatorv1.ConfirmDeletionsRequest{})
	wantRefusal(t, err, codes.InvalidArgument, "target")
}

// TestStatusWithoutEtcd: status is what an operator asks first when etcd is down.
func TestStatusWithoutEtcd(t *testing.T) {
	linked, link := storetest.Linked(t, storetest.New(t))
	f := newFleetOn(t, linked)
	f.create(hostResource("h", nil))
	link.Cut()
	s := f.status(&operatorv1.GetStatusRequest{})
	if s.GetHosts() != 1 || !s.GetStore().GetUnreachable() || !warns(s, "etcd does not answer") {
		t.Errorf("hosts %d, store %v, warnings %q", s.GetHosts(), s.GetStore(), s.GetWarnings())
	}
	link.Heal()
	if s := f.status(&operatorv1.GetStatusRequest{}); s.GetStore().GetUnreachable() {
		t.Errorf("etcd is back: store %v", s.GetStore())
	}
}

func TestRekey(t *testing.T) {
	f := newFleet(t)
	for i, name := range []string{"a", "b", "c"} {
		f.create(hostResource(name, map[string]string{"in-" + name: "yes"}))
		f.connect(name, byte(i+1))
	}
	f.create(policyResource("mesh", "*"))
	f.create(policyResource("other", "in-a"))
	for _, tt := range []struct {
		name  string
		req   *operatorv1.RekeyRequest
		pairs uint64
		mesh  bool
	}{
		{"host", &operatorv1.RekeyRequest{Target: &operatorv1.RekeyRequest_Host{Host: "a"}}, 2, false},
		{"policy", &operatorv1.RekeyRequest{Target: &operatorv1.RekeyRequest_Policy{Policy: "mesh"}}, 3, true},
		{"all", &operatorv1.RekeyRequest{Target: &operatorv1.RekeyRequest_All{All: true}}, 3, true},
	} {
		resp, err := f.admin.Rekey(f.ctx, tt.req)
		if err != nil || resp.GetPairs() != tt.pairs {
			t.Fatalf("%s: %v, %v, want %d pairs", tt.name, resp, err, tt.pairs)
		}
		before := f.get(kindPolicy, "mesh").GetPolicy().GetStatus().GetRekeyBefore()
		if tt.mesh != (before != nil) || tt.mesh && !before.AsTime().Equal(resp.GetRekeyBefore().AsTime()) {
			t.Errorf("%s: the policy says %v, the answer %v", tt.name, before, resp.GetRekeyBefore())
		}
	}
	h := f.get(kindHost, "a").GetHost().GetStatus()
	if h.GetRekeyBefore() == nil || len(h.GetAddresses()) != 2 {
		t.Errorf("status of the host %v", h)
	}
	_, err := f.admin.Rekey(f.ctx, &operatorv1.RekeyRequest{Target: &operatorv1.RekeyRequest_Policy{Policy: "none"}})
	wantRefusal(t, err, codes.NotFound, `"none"`)
	_, err = f.admin.Rekey(f.ctx, &operatorv1.RekeyRequest{Target: &operatorv1.RekeyRequest_Host{Host: "none"}})
	wantRefusal(t, err, codes.NotFound, `"none"`)
	_, err = f.admin.Rekey(f.ctx, &operatorv1.RekeyRequest{})
	wantRefusal(t, err, codes.InvalidArgument)
}

func TestBackupAndRestore(t *testing.T) {
	s := storetest.New(t)
	begin := func(f *fleet) {
		if _, err := f.store.Begin(f.ctx); err != nil {
			t.Fatal(err)
		}
	}
	f := newFleetOn(t, s)
	begin(f)
	f.create(hostResource("kept", nil))
	f.create(hostResource("revoked", nil))
	stream, err := f.admin.Backup(f.ctx, &operatorv1.BackupRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var backup []byte
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		backup = append(backup, m.GetChunk()...)
	}
	f.create(hostResource("newer", nil))
	f.remove(kindHost, "revoked")

	restore := func(b []byte) (*operatorv1.RestoreResponse, error) {
		up, err := f.admin.Restore(f.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for chunk := range bytes.SplitSeq(b, nil) { // byte by byte: chunks have no meaning
			if up.Send(&operatorv1.RestoreRequest{Chunk: chunk}) != nil {
				break
			}
		}
		return up.CloseAndRecv()
	}
	_, err = restore(backup[:len(backup)-1])
	wantRefusal(t, err, codes.InvalidArgument, "not a whole backup")
	if _, there := f.view.Get("spec/host/newer"); !there {
		t.Fatal("a refused restore wrote something")
	}
	resp, err := restore(backup)
	if err != nil || resp.GetRevocations() != 1 || resp.GetIncarnation() == 0 || resp.GetKeys() == 0 {
		t.Fatalf("restore: %v, %s", resp, describeErr(err))
	}
	_, err = f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: hostResource("x", nil)})
	if err == nil {
		t.Error("the old incarnation still writes")
	}
	after := newFleetOn(t, storetest.Another(t, s))
	if got := namesOf(after.list(&operatorv1.ListRequest{Kind: kindHost}).GetResources()); len(got) != 1 || got[0] != "kept" {
		t.Errorf("hosts %v, want kept; newer is not in the backup, revoked was deleted since", got)
	}
}

func TestAuthorityIsAsked(t *testing.T) {
	f := newFleet(t)
	roots, err := f.admin.RotateCA(f.ctx, &operatorv1.RotateCARequest{Step: operatorv1.RotateStep_ROTATE_STEP_PREPARE})
	if err != nil || len(roots.GetRoots()) != 1 {
		t.Errorf("%v, %v", roots, err)
	}
	cert, err := f.admin.IssueOperator(f.ctx, &operatorv1.IssueOperatorRequest{Name: "ann", Role: "viewer"})
	if err != nil || string(cert.GetCertificateChain()[0]) != "ann" {
		t.Errorf("%v, %v", cert, err)
	}
	_, err = f.admin.RevokeOperator(f.ctx, &operatorv1.RevokeOperatorRequest{Name: "alice"})
	wantRefusal(t, err, codes.NotFound, "alice")
}
