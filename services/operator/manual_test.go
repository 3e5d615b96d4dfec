package operator

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/operator/spec"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

// rawKey is key material for aes256-sha256 that a test knows again.
func rawKey(n byte) []byte {
	b := make([]byte, 64)
	for i := range b {
		b[i] = n ^ byte(3*i)
	}
	return b
}

func keyText(n byte) string { return "0x" + hex.EncodeToString(rawKey(n)) }

// manualResource is a manual peer of a host, with an inbound SPI and the keys n and n+1.
func manualResource(name, host string, spi uint32, n byte) *operatorv1.Resource {
	return ofManual(&operatorv1.ManualPeer{Metadata: &operatorv1.Metadata{Name: name}, Spec: &operatorv1.ManualPeerSpec{
		Host: host, Local: []string{"172.16.1.0/24"}, Remote: []string{"172.16.2.0/24"}, RemoteAddress: "192.0.2.9",
		Inbound:  &operatorv1.ManualAssociation{Spi: spi, Key: keyText(n)},
		Outbound: &operatorv1.ManualAssociation{Spi: 8193, Key: keyText(n + 1)},
	}})
}

// changed is a copy of a manual peer's resource with another spec.
func changed(r *operatorv1.Resource, change func(*operatorv1.ManualPeerSpec)) *operatorv1.Resource {
	r = proto.CloneOf(r)
	change(r.GetManualPeer().Spec)
	return r
}

func (f *fleet) phase(host, peer string) *controllerv1.ManualPhase {
	f.t.Helper()
	uid := f.get(kindManual, peer).GetManualPeer().GetMetadata().GetUid()
	var phase controllerv1.ManualPhase
	if _, err := store.Load(f.ctx, f.store, store.ManualPhasePrefix+host+"/"+uid, &phase); err != nil {
		f.t.Fatal(err)
	}
	return &phase
}

func (f *fleet) storedKeys(peer string) *controllerv1.ManualKey {
	f.t.Helper()
	kv, err := f.store.Get(f.ctx, store.ManualKeyPrefix+peer)
	if err != nil {
		f.t.Fatal(err)
	}
	plain, err := f.store.Unseal(kv.Key, kv.Value)
	if err != nil {
		f.t.Fatal(err)
	}
	var keys controllerv1.ManualKey
	if err := proto.Unmarshal(plain, &keys); err != nil {
		f.t.Fatal(err)
	}
	return &keys
}

// auditText is the audit file; empty while nothing is audited.
func (f *fleet) auditText() string {
	f.t.Helper()
	text, err := os.ReadFile(f.auditPath)
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

// watched is the first that a watcher of manual peers is told.
func (f *fleet) watched() *operatorv1.WatchResponse {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	stream, err := f.resources.Watch(ctx, &operatorv1.WatchRequest{Kinds: []operatorv1.Kind{kindManual}})
	if err != nil {
		f.t.Fatal(err)
	}
	m, err := stream.Recv()
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// TestManualKeysAreNowhereInClear: not in etcd, not in the audit file, not in an answer.
func TestManualKeysAreNowhereInClear(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("host-1", nil))
	answers := []proto.Message{f.create(manualResource("branch", "host-1", 4097, 1))}
	if k := f.storedKeys("branch"); !bytes.Equal(k.GetInbound(), rawKey(1)) || !bytes.Equal(k.GetOutbound(), rawKey(2)) {
		t.Fatal("the stored keys are not those that were given")
	}
	for _, r := range f.apply(&operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{manualResource("branch", "host-1", 4098, 5)}, DryRun: true}) {
		answers = append(answers, r)
	}
	for _, r := range f.apply(&operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{manualResource("branch", "host-1", 4098, 5)}}) {
		answers = append(answers, r)
	}
	list, err := f.resources.List(f.ctx, &operatorv1.ListRequest{Kind: kindManual})
	if err != nil || len(list.GetResources()) != 1 {
		t.Fatalf("list: %v, %v", list, err)
	}
	answers = append(answers, list, f.get(kindManual, "branch"))
	answers = append(answers, f.watched())
	_, err = f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: changed(manualResource("other", "host-1", 4099, 9), func(s *operatorv1.ManualPeerSpec) {
		s.Inbound.Key += "00"
	})})
	texts := [][]byte{[]byte(refusalOf(err).text)}
	for _, m := range answers {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, b)
	}
	kvs, _, err := f.store.List(f.ctx, "", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range kvs {
		texts = append(texts, kv.Value)
	}
	if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindManual, Name: "branch"}); err != nil {
		t.Fatal(err)
	}
	texts = append(texts, []byte(f.auditText()))
	for _, text := range texts {
		for _, n := range []byte{1, 2, 5, 6, 9} {
			if bytes.Contains(text, rawKey(n)[:16]) || bytes.Contains(text, []byte(keyText(n)[2:34])) {
				t.Errorf("key %d is in clear in %q", n, text)
			}
		}
	}
}

func TestManualPeerShown(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("host-1", nil))
	made := f.create(manualResource("branch", "host-1", 4097, 1)).GetManualPeer()
	got := f.get(kindManual, "branch").GetManualPeer()
	in, out := got.GetSpec().GetInbound(), got.GetSpec().GetOutbound()
	if in.GetKey() != spec.Redacted || out.GetKey() != spec.Redacted || len(in.GetFingerprint()) != 32 || in.GetFingerprint() == out.GetFingerprint() {
		t.Errorf("shown: %v, %v", in, out)
	}
	if !proto.Equal(made.GetSpec(), got.GetSpec()) || made.GetMetadata().GetRevision() != got.GetMetadata().GetRevision() {
		t.Errorf("made %v, got %v", made, got)
	}
	if s := got.GetStatus(); s.GetGeneration() != 1 || len(s.GetId()) != 32 || !strings.HasPrefix(s.GetId(), got.GetMetadata().GetUid()) ||
		s.GetInstalled() || len(s.GetConditions()) != 0 {
		t.Errorf("status %v", s)
	}
	f.connect("host-1", 7)
	phase := f.phase("host-1", "branch")
	phase.Acks, phase.Epoch = 3, append(make([]byte, 15), 7)
	key := store.ManualPhasePrefix + "host-1/" + got.GetMetadata().GetUid()
	w := f.watch(&operatorv1.WatchRequest{Kinds: []operatorv1.Kind{kindManual}})
	w.expect("added ManualPeer/branch", "bookmark")
	f.put(map[string]proto.Message{key: phase})
	w.expect("modified ManualPeer/branch")
	if !f.get(kindManual, "branch").GetManualPeer().GetStatus().GetInstalled() {
		t.Error("what the agent acknowledged is not shown")
	}
	f.connect("host-1", 8) // the agent was restarted
	if f.get(kindManual, "branch").GetManualPeer().GetStatus().GetInstalled() {
		t.Error("what another life of the agent had counts as installed")
	}
}

// TestManualGenerations: an association never changes; each change of it makes the next, and only those do.
func TestManualGenerations(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("host-1", nil))
	peer := manualResource("branch", "host-1", 4097, 1)
	f.create(peer)
	generation, id := uint32(1), f.phase("host-1", "branch").GetId()
	for _, tt := range []struct {
		name             string
		change           func(*operatorv1.ManualPeerSpec)
		next, breakFirst bool
	}{
		{"nothing", func(*operatorv1.ManualPeerSpec) {}, false, false},
		{"traffic", func(s *operatorv1.ManualPeerSpec) { s.Remote = []string{"172.16.3.0/24 tcp/80-90"} }, false, false},
		{"order", func(s *operatorv1.ManualPeerSpec) { s.Order = 10 }, false, false},
		{"address", func(s *operatorv1.ManualPeerSpec) { s.RemoteAddress = "192.0.2.10:4501" }, false, false},
		{"DF", func(s *operatorv1.ManualPeerSpec) { s.Df = "set" }, true, true},
		{"keys, same SPI", func(s *operatorv1.ManualPeerSpec) { s.Inbound.Key, s.Outbound.Key = keyText(11), keyText(12) }, true, true},
		{"keys, other SPI", func(s *operatorv1.ManualPeerSpec) { s.Inbound.Spi, s.Inbound.Key = 4098, keyText(13) }, true, false},
		{"outbound SPI", func(s *operatorv1.ManualPeerSpec) { s.Outbound.Spi = 1 << 30 }, true, true},
	} {
		tt.change(peer.GetManualPeer().Spec)
		r := f.apply(&operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{peer}})[0]
		want := updated
		if tt.name == "nothing" {
			want = unchanged
		}
		phase := f.phase("host-1", "branch")
		if tt.next {
			generation++
		}
		if r.GetAction() != want || phase.GetGeneration() != generation || phase.GetDeleting() || bytes.Equal(phase.GetId(), id) == tt.next ||
			tt.next && phase.GetBreakFirst() != tt.breakFirst {
			t.Errorf("%s: %v, generation %d of %d, phase %v", tt.name, r.GetAction(), phase.GetGeneration(), generation, phase)
		}
		if !bytes.Equal(phase.GetKey(), f.storedKeys("branch").GetId()) {
			t.Errorf("%s: the phase does not name the stored keys", tt.name)
		}
		id = phase.GetId()
	}
	if k := f.storedKeys("branch"); !bytes.Equal(k.GetInbound(), rawKey(13)) || !bytes.Equal(k.GetOutbound(), rawKey(12)) {
		t.Error("the key that was not given anew is lost")
	}
	if n := strings.Count(f.auditText(), string(store.AuditManualKeyReplaced)); n != 2 {
		t.Errorf("%d changes of keys are audited, want 2", n)
	}
}

// TestManualWriteOnlyKeys: what get shows can be applied again, and so can a file without keys.
func TestManualWriteOnlyKeys(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("host-1", nil))
	peer := manualResource("branch", "host-1", 4097, 1)
	f.create(peer)
	shown := f.get(kindManual, "branch")
	bare := changed(peer, func(s *operatorv1.ManualPeerSpec) { s.Inbound.Key, s.Outbound.Key = "", "" })
	for name, r := range map[string]*operatorv1.Resource{"the same keys": peer, "as shown": shown, "without keys": bare} {
		if got := actions(f.apply(&operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{r}})); got != "ManualPeer/branch unchanged" {
			t.Errorf("%s: %s", name, got)
		}
	}
	other := changed(shown, func(s *operatorv1.ManualPeerSpec) { s.Inbound.Fingerprint = strings.Repeat("0", 32) })
	_, err := f.resources.Apply(f.ctx, &operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{other}})
	wantRefusal(t, err, codes.InvalidArgument, "resources[0].manual_peer.spec.inbound.key", "the fingerprint 00000000", "is of another key", "give the key")
	_, err = f.resources.Apply(f.ctx, &operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{
		changed(bare, func(s *operatorv1.ManualPeerSpec) { s.Proposal = "null-sha256" })}})
	wantRefusal(t, err, codes.InvalidArgument, "the stored one has 64 bytes where null-sha256 wants 32", "give a new key")
	_, err = f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: changed(bare, func(s *operatorv1.ManualPeerSpec) { s.Inbound.Spi = 4099 })})
	wantRefusal(t, err, codes.AlreadyExists, "exists already")
	bare.GetManualPeer().Metadata.Name = "new"
	_, err = f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: bare})
	wantRefusal(t, err, codes.InvalidArgument, "spec.inbound.key: is missing: give 64 bytes", "spec.outbound.key: is missing")
	dry := f.apply(&operatorv1.ApplyRequest{DryRun: true, Resources: []*operatorv1.Resource{
		changed(shown, func(s *operatorv1.ManualPeerSpec) { s.Outbound.Key = keyText(9) })}})[0]
	before, after := dry.GetBefore().GetManualPeer().GetSpec().GetOutbound(), dry.GetAfter().GetManualPeer().GetSpec().GetOutbound()
	if dry.GetAction() != updated || before.GetFingerprint() == after.GetFingerprint() || after.GetKey() != spec.Redacted {
		t.Errorf("a new key in a dry run: %v to %v", before, after)
	}
}

func TestManualPeersBesideEachOther(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("host-1", nil))
	f.create(manualResource("a", "host-1", 4097, 1))
	for _, tt := range []struct {
		r    *operatorv1.Resource
		want []string
	}{
		{manualResource("b", "host-1", 4097, 11), []string{"spec.inbound.spi", `is the inbound SPI of manual peer "a" on host "host-1" already`}},
		{manualResource("b", "host-1", 4098, 2), []string{"spec.inbound.key", `is a key of manual peer "a" already`}},
		{changed(manualResource("b", "host-1", 4098, 11), func(s *operatorv1.ManualPeerSpec) { s.Outbound.Key = s.Inbound.Key }),
			[]string{"spec.outbound.key", "is the inbound key"}},
	} {
		_, err := f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: tt.r})
		wantRefusal(t, err, codes.InvalidArgument, tt.want...)
		_, err = f.resources.Apply(f.ctx, &operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{tt.r}})
		wantRefusal(t, err, codes.InvalidArgument, tt.want...)
	}
	_, err := f.resources.Apply(f.ctx, &operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{
		manualResource("b", "host-1", 4098, 11), manualResource("c", "host-1", 4098, 12)}})
	wantRefusal(t, err, codes.InvalidArgument, "resources[1].manual_peer.spec.inbound.spi", "resources[1].manual_peer.spec.inbound.key", `manual peer "b"`)
	if got := actions(f.apply(&operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{
		manualResource("b", "host-1", 4098, 11), manualResource("c", "host-2", 4097, 21)}})); got != "ManualPeer/b created, ManualPeer/c created" {
		t.Errorf("other SPIs and keys, or another host: %s", got)
	}
	// Two peers exchange their SPIs and keys in one request.
	if got := actions(f.apply(&operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{
		manualResource("a", "host-1", 4098, 11), manualResource("b", "host-1", 4097, 1)}})); got != "ManualPeer/a updated, ManualPeer/b updated" {
		t.Errorf("exchanged: %s", got)
	}
}

// TestManualPeersAtTheSameTime: of two peers that take one SPI together, one is refused.
func TestManualPeersAtTheSameTime(t *testing.T) {
	f := newFleet(t)
	other := newFleetOn(t, f.store)
	f.create(hostResource("host-1", nil))
	var running sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		at := []*fleet{f, other}[i%2]
		running.Go(func() {
			_, errs[i] = at.resources.Create(at.ctx, &operatorv1.CreateRequest{Resource: manualResource(fmt.Sprintf("p-%d", i), "host-1", 4097, byte(10*i))})
		})
	}
	running.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
			continue
		}
		wantRefusal(t, err, codes.InvalidArgument, "is the inbound SPI of manual peer")
	}
	if made != 1 {
		t.Errorf("%d peers have the same SPI", made)
	}
}

func TestManualPeerWithoutHost(t *testing.T) {
	f := newFleet(t)
	peer := manualResource("branch", "host-9", 4097, 1)
	r := f.apply(&operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{peer}})[0]
	if len(r.GetWarnings()) != 1 || !strings.Contains(r.GetWarnings()[0], `no host "host-9" yet`) {
		t.Errorf("warnings %q", r.GetWarnings())
	}
	conditions := f.get(kindManual, "branch").GetManualPeer().GetStatus().GetConditions()
	if len(conditions) != 1 || conditions[0].GetType() != "HostMissing" {
		t.Errorf("conditions %v", conditions)
	}
	// Nobody can hold anything: no tombstone is needed.
	if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindManual, Name: "branch"}); err != nil {
		t.Fatal(err)
	}
	if kvs, _, err := f.store.List(f.ctx, "manual/", store.ListOptions{}); err != nil || len(kvs) != 1 || kvs[0].Key != store.ManualGuardKey {
		t.Errorf("left: %v, %v", kvs, err)
	}
	r = f.apply(&operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{peer, hostResource("host-9", nil)}})[0]
	if len(r.GetWarnings()) != 0 {
		t.Errorf("with its host: %q", r.GetWarnings())
	}
}

// TestManualTombstones: a host that may hold associations is told to delete them.
func TestManualTombstones(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("host-1", nil))
	f.create(hostResource("host-2", nil))
	peer := manualResource("branch", "host-1", 4097, 1)
	uid := f.create(peer).GetManualPeer().GetMetadata().GetUid()
	old := f.phase("host-1", "branch")
	f.apply(&operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{changed(peer, func(s *operatorv1.ManualPeerSpec) { s.Host = "host-2" })}})
	if grave := f.phase("host-1", "branch"); !grave.GetDeleting() || !bytes.Equal(grave.GetId(), old.GetId()) {
		t.Errorf("at the host that the peer has left: %v", grave)
	}
	now := f.phase("host-2", "branch")
	if now.GetDeleting() || now.GetGeneration() != 2 || bytes.Equal(now.GetId(), old.GetId()) {
		t.Errorf("at the new host: %v", now)
	}
	f.apply(&operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{peer}})
	if back := f.phase("host-1", "branch"); back.GetDeleting() || back.GetGeneration() != 3 {
		t.Errorf("back again: %v", back)
	}
	if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindManual, Name: "branch", Revision: 1}); refusalOf(err).code != codes.Aborted {
		t.Errorf("an old revision: %v", err)
	}
	if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindManual, Name: "branch"}); err != nil {
		t.Fatal(err)
	}
	var phase controllerv1.ManualPhase
	if _, err := store.Load(f.ctx, f.store, store.ManualPhasePrefix+"host-1/"+uid, &phase); err != nil || !phase.GetDeleting() {
		t.Errorf("after the deletion: %v, %v", &phase, err)
	}
	for _, key := range []string{"spec/manualpeer/branch", "status/manualpeer/branch", "manual/key/branch"} {
		if _, err := f.store.Get(f.ctx, key); err == nil {
			t.Errorf("%s is left", key)
		}
	}
	if !strings.Contains(f.auditText(), string(store.AuditManualPeerRemoved)) {
		t.Error("the deletion is not audited")
	}
	_, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindManual, Name: "branch"})
	wantRefusal(t, err, codes.NotFound, `ManualPeer "branch" does not exist`)
	if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindHost, Name: "host-1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.store.Get(f.ctx, store.ManualPhasePrefix+"host-1/"+uid); err == nil {
		t.Error("a tombstone outlives its host")
	}
}

func TestManualPeersArePruned(t *testing.T) {
	f := newFleet(t)
	labelled := func(name string, spi uint32, n byte) *operatorv1.Resource {
		r := manualResource(name, "host-1", spi, n)
		r.GetManualPeer().Metadata.Labels = map[string]string{"managed": "git"}
		return r
	}
	keep, drop := labelled("keep", 4097, 1), labelled("drop", 4098, 11)
	f.apply(&operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{keep, drop, manualResource("other", "host-1", 4099, 21)}})
	got := actions(f.apply(&operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{keep}, Prune: true, PruneSelector: "managed=git"}))
	if got != "ManualPeer/keep unchanged, ManualPeer/drop deleted" {
		t.Errorf("%s", got)
	}
	f.get(kindManual, "other")
}

// TestManualPeersSurviveARestore: their keys come back with a backup, but for those that were revoked since.
func TestManualPeersSurviveARestore(t *testing.T) {
	f := newFleet(t)
	if _, err := f.store.Begin(f.ctx); err != nil {
		t.Fatal(err)
	}
	f.create(manualResource("stays", "host-1", 4097, 1))
	f.create(manualResource("rekeyed", "host-1", 4098, 11))
	f.create(manualResource("removed", "host-1", 4099, 21))
	var saved bytes.Buffer
	if _, err := f.store.Backup(f.ctx, &saved); err != nil {
		t.Fatal(err)
	}
	for _, n := range []byte{1, 2, 11, 12, 21, 22} {
		if bytes.Contains(saved.Bytes(), rawKey(n)[:16]) {
			t.Errorf("key %d is in clear in the backup", n)
		}
	}
	f.apply(&operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{changed(manualResource("rekeyed", "host-1", 4098, 11), func(s *operatorv1.ManualPeerSpec) {
		s.Inbound.Key = keyText(31)
	})}})
	if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindManual, Name: "removed"}); err != nil {
		t.Fatal(err)
	}
	audit, err := store.OpenAudit(f.auditPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.store.Restore(f.ctx, io.Reader(&saved), store.RestoreOptions{Now: time.Now(), Audit: audit}); err != nil {
		t.Fatal(err)
	}
	g := newFleetOn(t, storetest.Another(t, f.store))
	if k := g.storedKeys("stays"); !bytes.Equal(k.GetInbound(), rawKey(1)) {
		t.Error("the keys of a peer that stays are lost")
	}
	rekeyed := g.get(kindManual, "rekeyed").GetManualPeer()
	if _, err := g.store.Get(context.Background(), "manual/key/rekeyed"); err == nil {
		t.Error("replaced keys came back")
	}
	if c := rekeyed.GetStatus().GetConditions(); len(c) != 2 || c[1].GetType() != "KeysMissing" {
		t.Errorf("conditions %v", c)
	}
	if _, err := g.resources.Get(g.ctx, &operatorv1.GetRequest{Kind: kindManual, Name: "removed"}); refusalOf(err).code != codes.NotFound {
		t.Errorf("a removed peer came back: %v", err)
	}
	// The same keys again are no change of the spec, but they must be stored.
	r := g.apply(&operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{manualResource("rekeyed", "host-1", 4098, 11)}})[0]
	if r.GetAction() == unchanged || !bytes.Equal(g.storedKeys("rekeyed").GetInbound(), rawKey(11)) {
		t.Errorf("applied again with keys: %v", r.GetAction())
	}
}
