package keying

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/store"
)

// TestNobodyGetsNoOnesAddresses: NULL authentication takes no address of a peer that is authenticated.
func TestNobodyGetsNoOnesAddresses(t *testing.T) {
	f := newFixture(t, nil)
	uid := hex.EncodeToString([]byte("anybody!"))
	spec := &operatorv1.PeerSpec{
		Hosts: []string{"gw"}, RemoteAddresses: []string{"any"}, Start: "never", Lost: "clear",
		Local: &operatorv1.PeerAuthentication{Method: "null"}, Remote: &operatorv1.PeerAuthentication{Method: "null"},
		Proposals: []string{"aes256gcm16-prfsha256-x25519"},
		Children: []*operatorv1.PeerChild{
			{Name: "all", Local: []string{"10.1.0.0/16"}, Remote: []string{"10.0.0.0/8"}, Proposals: []string{"aes256gcm16-x25519-noesn"}},
			{Name: "none", Local: []string{"10.1.0.0/16"}, Remote: []string{"10.2.3.0/24"}, Proposals: []string{"aes256gcm16-x25519-noesn"}},
		},
	}
	f.put(store.SpecPrefix+"peer/anybody", &operatorv1.Peer{Metadata: &operatorv1.Metadata{Name: "anybody", Uid: uid}, Spec: spec})
	reign, err := f.service.leading()
	must(t, err)
	p, err := reign.policy(Candidate{Name: "anybody", Spec: spec}, "gw", gateway)
	must(t, err)
	if len(p.Children) != 1 || slices.ContainsFunc(p.Children[0].Remote, func(s ikewire.TrafficSelector) bool {
		return !s.End.Less(netip.MustParseAddr("10.2.0.0")) && !netip.MustParseAddr("10.2.255.255").Less(s.Start)
	}) {
		t.Errorf("children: %+v", p.Children)
	}
}
