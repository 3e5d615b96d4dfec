package peerauth

import (
	"context"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/keying"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikekeys"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

const testSecret = "a secret of these tests only"

var (
	gateway = netip.MustParseAddrPort("192.0.2.1:500")
	office  = netip.MustParseAddrPort("198.51.100.7:500")
	octets  = []byte("what AUTH covers")
)

// fixture is a store with Credentials and Peers, and the PAD that is made of it.
type fixture struct {
	t     *testing.T
	store *store.Store
	view  *store.View
	pad   *PAD
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, store: storetest.New(t)}
	if _, err := f.store.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	var err error
	if f.view, err = f.store.View(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.view.Close)
	f.pad = New(Config{Store: f.store, View: f.view})
	f.credential("office-psk", testSecret)
	f.peer("office", "office-psk", "branch.example.org", office.Addr().String())
	return f
}

func (f *fixture) put(key string, m proto.Message) {
	f.t.Helper()
	put, err := store.PutRecord(key, m)
	if err != nil {
		f.t.Fatal(err)
	}
	f.commit(put)
}

func (f *fixture) commit(put store.Put) {
	f.t.Helper()
	revision, err := f.store.Commit(f.t.Context(), store.Txn{Puts: []store.Put{put}})
	if err == nil {
		err = f.view.WaitRevision(f.t.Context(), revision)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) credential(name, secret string) {
	f.t.Helper()
	f.put(store.SpecPrefix+"credential/"+name, &operatorv1.Credential{
		Metadata: &operatorv1.Metadata{Name: name}, Spec: &operatorv1.CredentialSpec{Type: "psk"},
	})
	plain, err := store.Encode(&controllerv1.CredentialSecret{Secret: []byte(secret)})
	if err != nil {
		f.t.Fatal(err)
	}
	key := store.CredentialPrefix + name
	sealed, err := f.store.Seal(key, plain)
	if err != nil {
		f.t.Fatal(err)
	}
	f.commit(store.Put{Key: key, Value: sealed})
}

func (f *fixture) peer(name, credential, id string, addresses ...string) {
	f.t.Helper()
	f.put(store.SpecPrefix+"peer/"+name, &operatorv1.Peer{
		Metadata: &operatorv1.Metadata{Name: name, Uid: hex.EncodeToString([]byte(name + "........")[:8])},
		Spec: &operatorv1.PeerSpec{
			Hosts: []string{"gw"}, RemoteAddresses: addresses,
			Local:    &operatorv1.PeerAuthentication{Method: "psk", Credential: credential},
			Remote:   &operatorv1.PeerAuthentication{Method: "psk", Credential: credential, Id: id},
			Children: []*operatorv1.PeerChild{{Name: "net", Remote: []string{"10.2.0.0/16"}}},
		},
	})
}

// claim is what a peer says, with the MAC of a secret.
func claim(id, secret string, candidates ...string) keying.Claim {
	prf, _ := transform.PRFByID(transform.PRFHMACSHA2_256)
	c := keying.Claim{Host: "gw", Question: ike.VerifyPeer{
		Initiator: true, IDi: ikewire.Identification{Type: ikewire.IDFQDN, Data: []byte(id)}, SignedOctets: octets, PRF: prf.ID,
		AUTH: ikewire.AUTH{Method: ikewire.AuthSharedKey, Data: ikekeys.SharedKeyAUTH(prf, []byte(secret), octets)},
		Path: ike.Path{Local: gateway, Remote: office},
	}}
	for _, name := range candidates {
		c.Candidates = append(c.Candidates, keying.Candidate{Name: name})
	}
	return c
}

func TestVerify(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		name  string
		claim keying.Claim
		peer  string
		says  string
	}{
		{"right", claim("branch.example.org", testSecret, "office"), "office", ""},
		{"another secret", claim("branch.example.org", "another one", "office"), "", "pre-shared key"},
		{"another identity", claim("stranger.example.org", testSecret, "office"), "", "stranger.example.org"},
		{"another address", claim("branch.example.org", testSecret, "somebody-else"), "", "remote_addresses"},
	} {
		v := f.pad.Verify(t.Context(), c.claim)
		if v.Peer != c.peer || !strings.Contains(v.Reason, c.says) {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
}

// TestWrongPeerHarmsNoOther: what cannot be in the PAD is left out, and says why when it is called.
func TestWrongPeerHarmsNoOther(t *testing.T) {
	f := newFixture(t)
	f.peer("twin", "office-psk", "branch.example.org", office.Addr().String()) // who is who?
	f.peer("poor", "no-such-credential", "poor.example.org", "any")
	if v := f.pad.Verify(t.Context(), claim("branch.example.org", testSecret, "office")); v.Peer != "office" {
		t.Errorf("%+v", v)
	}
	for _, name := range []string{"twin", "poor"} {
		signed := f.pad.Sign(t.Context(), proof(name))
		if signed.Failed == "" || len(signed.AUTH.Data) != 0 {
			t.Errorf("%s is proven to: %+v", name, signed)
		}
	}
}

func proof(peer string) keying.Proof {
	return keying.Proof{Host: "gw", Peer: keying.Candidate{Name: peer}, Question: ike.SignAUTH{
		LocalID:      ikewire.Identification{Type: ikewire.IDIPv4Addr, Data: gateway.Addr().AsSlice()},
		SignedOctets: octets, PRF: transform.PRFHMACSHA2_256,
	}}
}

func TestSignFollowsTheCredential(t *testing.T) {
	f := newFixture(t)
	prf, _ := transform.PRFByID(transform.PRFHMACSHA2_256)
	for _, secret := range []string{testSecret, "a new secret, put in its place"} {
		f.credential("office-psk", secret)
		signed := f.pad.Sign(t.Context(), proof("office"))
		if signed.Failed != "" || string(signed.AUTH.Data) != string(ikekeys.SharedKeyAUTH(prf, []byte(secret), octets)) {
			t.Errorf("%q: %q", secret, signed.Failed)
		}
	}
}

func TestIdentities(t *testing.T) {
	for _, c := range []struct {
		text    string
		pattern bool
		good    bool
	}{
		{"gw.example.org", false, true}, {"*.example.org", true, true}, {"*.example.org", false, false}, {"any", true, true},
		{"any", false, false}, {"CN=gw,O=Example", false, true}, {"ipv4:x", true, false},
	} {
		if err := (Identities{}).CheckIdentity(c.text, c.pattern); (err == nil) != c.good {
			t.Errorf("%q, pattern %t: %v", c.text, c.pattern, err)
		}
	}
}

// TestNobodyPushesNobodyOut: a peer of NULL authentication that covers another one's selectors is the one left out,
// whatever its name.
func TestNobodyPushesNobodyOut(t *testing.T) {
	f := newFixture(t)
	f.put(store.SpecPrefix+"peer/anybody", &operatorv1.Peer{
		Metadata: &operatorv1.Metadata{Name: "anybody", Uid: hex.EncodeToString([]byte("anybody!"))},
		Spec: &operatorv1.PeerSpec{
			Hosts: []string{"gw"}, RemoteAddresses: []string{"any"},
			Local: &operatorv1.PeerAuthentication{Method: "null"}, Remote: &operatorv1.PeerAuthentication{Method: "null"},
			Children: []*operatorv1.PeerChild{{Name: "net", Remote: []string{"10.2.3.0/24"}}},
		},
	})
	if v := f.pad.Verify(t.Context(), claim("branch.example.org", testSecret, "office")); v.Peer != "office" {
		t.Errorf("%+v", v)
	}
}
