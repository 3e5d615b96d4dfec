package operator

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/operator/spec"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

const pskText = "correct horse battery staple"

func pskResource(name, secret string) *operatorv1.Resource {
	return ofCredential(&operatorv1.Credential{
		Metadata: &operatorv1.Metadata{Name: name}, Spec: &operatorv1.CredentialSpec{Type: "psk", Secret: secret},
	})
}

func peerResource(name, host, credential string, children ...string) *operatorv1.Resource {
	s := &operatorv1.PeerSpec{
		Hosts: []string{host}, RemoteAddresses: []string{"192.0.2.50"}, Local: &operatorv1.PeerAuthentication{Credential: credential},
	}
	for _, c := range children {
		s.Children = append(s.Children, &operatorv1.PeerChild{Name: c, Local: []string{"172.16.1.0/24"}, Remote: []string{"172.16.2.0/24"}})
	}
	return ofPeer(&operatorv1.Peer{Metadata: &operatorv1.Metadata{Name: name}, Spec: s})
}

// entry is the record of a peer's child at a host; nil when there is none.
func (f *fleet) entry(host, peer, child string) *controllerv1.PeerEntry {
	f.t.Helper()
	var e controllerv1.PeerEntry
	if kv, ok := f.view.Get(store.PeerEntryPrefix + host + "/" + f.childUID(peer, child).String()); !ok {
		return nil
	} else if err := store.Decode(kv, &e); err != nil {
		f.t.Fatal(err)
	}
	return &e
}

func (f *fleet) childUID(peer, child string) plan.UID {
	f.t.Helper()
	uid, err := plan.ParseUID(f.get(kindPeer, peer).GetPeer().GetMetadata().GetUid())
	if err != nil {
		f.t.Fatal(err)
	}
	return world.ChildUID(uid, child)
}

func TestSecretsAreNowhereInClear(t *testing.T) {
	f := newFleet(t)
	made := f.create(pskResource("office-psk", pskText)).GetCredential()
	if s := made.GetSpec(); s.GetSecret() != spec.Redacted || s.GetFingerprint() == "" {
		t.Errorf("created: %v", s)
	}
	shown := f.get(kindCredential, "office-psk").GetCredential()
	if shown.GetSpec().GetSecret() != spec.Redacted {
		t.Errorf("shown: %v", shown.GetSpec())
	}
	f.view.Range("", func(kv store.KV) bool {
		if bytes.Contains(kv.Value, []byte(pskText)) {
			t.Errorf("%s has the secret in clear", kv.Key)
		}
		return true
	})
	kv, ok := f.view.Get(store.CredentialPrefix + "office-psk")
	if !ok {
		t.Fatal("no secret is stored")
	}
	plain, err := f.store.Unseal(kv.Key, kv.Value)
	var secret controllerv1.CredentialSecret
	if err != nil || proto.Unmarshal(plain, &secret) != nil || string(secret.GetSecret()) != pskText || len(secret.GetId()) != 16 {
		t.Errorf("stored: %v, %v", secret.GetId(), err)
	}
}

func TestSecretsAreKept(t *testing.T) {
	f := newFleet(t)
	before := f.create(pskResource("office-psk", pskText)).GetCredential()
	// What was shown can be written back, with another label.
	again := proto.CloneOf(before)
	again.Metadata.Labels = map[string]string{"site": "office"}
	after, err := f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: ofCredential(again)})
	if err != nil || after.GetResource().GetCredential().GetSpec().GetFingerprint() != before.GetSpec().GetFingerprint() {
		t.Fatalf("%v, %v", after, err)
	}
	if _, err = f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: pskResource("other", "")}); err == nil {
		t.Error("a new credential needs no secret")
	}
	wantRefusal(t, err, codes.InvalidArgument, "spec.secret", "missing")
	// Whoever says which secret is meant, by its fingerprint, must be right.
	again.Spec.Fingerprint, again.Metadata.Revision = "0123", 0
	_, err = f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: ofCredential(again)})
	wantRefusal(t, err, codes.InvalidArgument, "spec.secret", "fingerprint")
}

func TestCredentialInUseStays(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("gw", nil))
	f.create(pskResource("office-psk", pskText))
	f.create(peerResource("office", "gw", "office-psk", "net"))
	if users := f.get(kindCredential, "office-psk").GetCredential().GetStatus().GetPeers(); len(users) != 1 || users[0] != "office" {
		t.Errorf("users: %v", users)
	}
	_, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindCredential, Name: "office-psk"})
	wantRefusal(t, err, codes.Aborted, "office")
	for _, d := range []*operatorv1.DeleteRequest{{Kind: kindPeer, Name: "office"}, {Kind: kindCredential, Name: "office-psk"}} {
		if _, err := f.resources.Delete(f.ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := f.view.Get(store.CredentialPrefix + "office-psk"); ok {
		t.Error("the secret outlives its credential")
	}
}

func TestPeerIsCompleted(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("gw", nil))
	s := f.create(peerResource("office", "gw", "office-psk", "net")).GetPeer().GetSpec()
	if s.GetLocal().GetMethod() != "psk" || s.GetRemote().GetCredential() != "office-psk" || s.GetStart() != "always" || s.GetLost() != "restart" ||
		len(s.GetProposals()) == 0 || len(s.GetChildren()[0].GetProposals()) == 0 || s.GetChildren()[0].GetMode() != "tunnel" {
		t.Errorf("completed: %v", s)
	}
	status := f.get(kindPeer, "office").GetPeer().GetStatus()
	if status.GetChildren() != 1 || status.GetChildrenUp() != 0 || len(status.GetConditions()) != 1 || status.GetConditions()[0].GetType() != "CredentialMissing" {
		t.Errorf("status: %v", status)
	}
}

func TestPeerIsRefused(t *testing.T) {
	f := newFleet(t)
	for _, c := range []struct {
		change func(*operatorv1.PeerSpec)
		words  []string
	}{
		{func(s *operatorv1.PeerSpec) { s.Hosts = nil }, []string{"spec.hosts"}},
		{func(s *operatorv1.PeerSpec) { s.RemoteAddresses = []string{"gw.example"} }, []string{"spec.remote_addresses[0]", "names are not resolved"}},
		{func(s *operatorv1.PeerSpec) { s.Local.Credential = "" }, []string{"spec.local.credential"}},
		{func(s *operatorv1.PeerSpec) { s.Local.Id = "any" }, nil}, // an FQDN like any other
		{func(s *operatorv1.PeerSpec) { s.Local.Id = "CN=gw" }, []string{"spec.local.id"}},
		{func(s *operatorv1.PeerSpec) { s.Proposals = []string{"aes256gcm16-prfsha256-modp1024"} }, []string{"spec.proposals[0]", "modp1024"}},
		{func(s *operatorv1.PeerSpec) { s.Start, s.RemoteAddresses = "always", []string{"any"} }, []string{"spec.start"}},
		{func(s *operatorv1.PeerSpec) { s.Children = nil }, []string{"spec.children"}},
		{func(s *operatorv1.PeerSpec) { s.Children[0].Remote = []string{"nonsense"} }, []string{"spec.children[0].remote[0]"}},
		{func(s *operatorv1.PeerSpec) { s.Children = append(s.Children, s.Children[0]) }, []string{"twice"}},
	} {
		r := peerResource("office", "gw", "office-psk", "net")
		c.change(r.GetPeer().GetSpec())
		_, err := f.resources.Create(f.ctx, &operatorv1.CreateRequest{Resource: r, DryRun: true})
		if c.words == nil {
			if err != nil {
				t.Errorf("refused: %v", err)
			}
			continue
		}
		wantRefusal(t, err, codes.InvalidArgument, c.words...)
	}
}

func TestPeersEntries(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("gw", nil))
	f.create(hostResource("spare", nil))
	f.create(peerResource("office", "gw", "office-psk", "net", "lab"))
	for _, child := range []string{"net", "lab"} {
		if e := f.entry("gw", "office", child); e.GetPeer() != "office" || e.GetChild() != child || e.GetDeleting() {
			t.Errorf("%s: %v", child, e)
		}
	}
	lab := f.childUID("office", "lab")
	if _, err := f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: peerResource("office", "spare", "office-psk", "net")}); err != nil {
		t.Fatal(err)
	}
	if !f.entry("gw", "office", "net").GetDeleting() || !f.entry("gw", "office", "lab").GetDeleting() || f.entry("spare", "office", "net").GetDeleting() {
		t.Error("the host that served the peer has no tombstones, or the other one has")
	}
	if f.entry("spare", "office", "lab") != nil {
		t.Errorf("a child that is no more has an entry, %v", lab)
	}
	net := f.childUID("office", "net")
	if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: kindPeer, Name: "office"}); err != nil {
		t.Fatal(err)
	}
	var e controllerv1.PeerEntry
	if kv, ok := f.view.Get(store.PeerEntryPrefix + "spare/" + net.String()); !ok || store.Decode(kv, &e) != nil || !e.GetDeleting() {
		t.Error("a deleted peer leaves no tombstone")
	}
}

func TestApplyOrderDoesNotMatter(t *testing.T) {
	f := newFleet(t)
	response, err := f.resources.Apply(f.ctx, &operatorv1.ApplyRequest{Resources: []*operatorv1.Resource{
		peerResource("office", "gw", "office-psk", "net"), pskResource("office-psk", pskText), hostResource("gw", nil),
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range response.GetResults() {
		if len(r.GetWarnings()) > 0 || r.GetAction() != operatorv1.ApplyAction_APPLY_ACTION_CREATED {
			t.Errorf("%s: %v %v", r.GetName(), r.GetAction(), r.GetWarnings())
		}
	}
	pruned, err := f.resources.Apply(f.ctx, &operatorv1.ApplyRequest{Prune: true, PruneSelector: "*", Resources: []*operatorv1.Resource{hostResource("gw", nil)}})
	if err != nil || len(pruned.GetResults()) != 3 {
		t.Errorf("pruned: %v, %v", pruned, err)
	}
}

func TestIKESAsAreShown(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("gw", nil))
	f.create(pskResource("office-psk", pskText))
	f.create(peerResource("office", "gw", "office-psk", "net"))
	uid, _ := plan.ParseUID(f.get(kindPeer, "office").GetPeer().GetMetadata().GetUid())
	net := f.childUID("office", "net")
	id := net.String() + "0000000000000001"
	spi := []byte{0x81, 7: 1}
	revision := f.put(map[string]proto.Message{
		store.IKEStatePrefix + "8100000000000001": &controllerv1.IKEState{Peer: "office", PeerUid: uid[:], Host: "gw", State: "established", RemoteAddress: "192.0.2.50:4500"},
		store.IKEChildPrefix + "gw/" + id: &controllerv1.IKEChild{
			Peer: "office", Child: "net", IkeSpi: spi, InboundSpi: 0x81000001, Transform: &typesv1.Transform{Encryption: 20, KeyBits: 256},
			Local: []*typesv1.TrafficSelector{{StartAddress: []byte{10, 1, 0, 0}, EndAddress: []byte{10, 1, 255, 255}, EndPort: 65535}},
		},
		store.IKEAcksPrefix + "gw/" + id: &controllerv1.IKEChildAcks{Acks: 3},
	})
	if err := f.feed.WaitRevision(f.ctx, revision); err != nil {
		t.Fatal(err)
	}
	list, err := f.resources.List(f.ctx, &operatorv1.ListRequest{Kind: kindIKESA, Selector: "peer=office"})
	if err != nil || len(list.GetResources()) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	s := list.GetResources()[0].GetIkeSecurityAssociation().GetStatus()
	if len(s.GetChildren()) != 1 || s.GetChildren()[0].GetInstalled() != "both" || strings.Join(s.GetChildren()[0].GetLocal(), "") != "10.1.0.0/16" {
		t.Errorf("status: %v", s)
	}
	if status := f.get(kindPeer, "office").GetPeer().GetStatus(); status.GetIkeSas() != 1 || status.GetChildrenUp() != 1 || status.GetHost() != "gw" {
		t.Errorf("peer: %v", status)
	}
}
