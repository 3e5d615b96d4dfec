package operator

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/operator/spec"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/protocol/spd"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// peer reads a peer whose spec is kv.
func (r reader) peer(kv store.KV) (*operatorv1.Peer, error) {
	p := &operatorv1.Peer{}
	if err := store.Decode(kv, p); err != nil {
		return nil, err
	}
	name := p.GetMetadata().GetName()
	p.Metadata.Revision, p.Status = kv.ModRevision, &operatorv1.PeerStatus{}
	if _, err := r.load(store.StatusPrefix+string(store.KindPeer)+"/"+name, p.Status); err != nil {
		return nil, err
	}
	uid, err := plan.ParseUID(p.GetMetadata().GetUid())
	if err != nil {
		return nil, err
	}
	var wish controllerv1.PeerWish
	if _, err := r.load(store.PeerWishPrefix+name, &wish); err != nil {
		return nil, err
	}
	p.Status.Down = wish.GetDown() && string(wish.GetPeerUid()) == string(uid[:])
	p.Status.Children = uint32(len(p.GetSpec().GetChildren()))
	r.peerState(p, uid)
	p.Status.Conditions = append(p.Status.Conditions, r.peerConditions(p)...)
	return p, nil
}

// peerState fills in what the records of its IKE SAs say.
func (r reader) peerState(p *operatorv1.Peer, uid plan.UID) {
	r.snapshot.Range(store.IKEStatePrefix, func(kv store.KV) bool {
		var s controllerv1.IKEState
		if store.Decode(kv, &s) == nil && string(s.GetPeerUid()) == string(uid[:]) {
			if s.GetState() == "established" {
				p.Status.IkeSas++
			}
			p.Status.Host, p.Status.RemoteAddress = s.GetHost(), s.GetRemoteAddress()
		}
		return true
	})
	for _, c := range p.GetSpec().GetChildren() {
		for _, host := range p.GetSpec().GetHosts() {
			if r.childUp(host, world.ChildUID(uid, c.GetName())) {
				p.Status.ChildrenUp++
				break
			}
		}
	}
}

// childUp reports whether a host has a child SA that carries traffic both ways.
func (r reader) childUp(host string, uid plan.UID) bool {
	e, found, err := world.ReadPeerEntry(r.snapshot, host, uid)
	if err != nil || !found {
		return false
	}
	for _, sa := range e.SAs {
		if installed(sa.Record, sa.Acks) == "both" {
			return true
		}
	}
	return false
}

// installed is what a host holds of a child SA, in words.
func installed(c *controllerv1.IKEChild, a *controllerv1.IKEChildAcks) string {
	switch acks := a.GetAcks(); {
	case c.GetDeleting():
		return "deleting"
	case c.GetDraining():
		return "draining"
	case acks == world.PeerInbound|world.PeerOutbound:
		return "both"
	case acks == world.PeerInbound:
		return "inbound"
	}
	return "nothing"
}

// peerConditions says why a peer cannot be served.
func (r reader) peerConditions(p *operatorv1.Peer) (all []*operatorv1.Condition) {
	for _, host := range p.GetSpec().GetHosts() {
		if _, ok := r.world.World.HostByName(host); !ok {
			all = append(all, &operatorv1.Condition{Type: "HostMissing", Message: fmt.Sprintf("there is no host %q: it serves the peer when it has joined", host)})
		}
	}
	names := []string{p.GetSpec().GetLocal().GetCredential(), p.GetSpec().GetRemote().GetCredential()}
	for _, name := range slices.Compact(names) {
		if name != "" {
			if _, ok := r.snapshot.Get(keyPrefix(kindCredential) + name); !ok {
				all = append(all, &operatorv1.Condition{Type: "CredentialMissing", Message: fmt.Sprintf("there is no Credential %q: nobody is authenticated until there is", name)})
			}
		}
	}
	return all
}

// credential reads a credential whose spec is kv.
func (r reader) credential(kv store.KV) (*operatorv1.Credential, error) {
	c := &operatorv1.Credential{}
	if err := store.Decode(kv, c); err != nil {
		return nil, err
	}
	name := c.GetMetadata().GetName()
	c.Metadata.Revision, c.Status = kv.ModRevision, &operatorv1.CredentialStatus{Peers: usersOf(r.snapshot, name)}
	for _, certificate := range spec.Certificates(c.GetSpec()) {
		c.Status.Subjects = append(c.Status.Subjects, certificate.Subject.String())
		if end := c.Status.GetExpireTime(); end == nil || certificate.NotAfter.Before(end.AsTime()) {
			c.Status.ExpireTime = timestamppb.New(certificate.NotAfter)
		}
	}
	if _, ok := r.snapshot.Get(store.CredentialPrefix + name); !ok && spec.HasSecret(c.GetSpec()) {
		c.Status.Conditions = append(c.Status.Conditions, &operatorv1.Condition{
			Type: "SecretMissing", Message: "the secret was replaced after the backup that the store was restored from: apply the credential with its secret again",
		})
	}
	return c, nil
}

// ikeSA reads an IKE SA whose state is kv.
func (r reader) ikeSA(kv store.KV) (*operatorv1.IKESecurityAssociation, error) {
	var s controllerv1.IKEState
	if err := store.Decode(kv, &s); err != nil {
		return nil, err
	}
	name := strings.TrimPrefix(kv.Key, store.IKEStatePrefix)
	status := &operatorv1.IKESecurityAssociationStatus{
		Peer: s.GetPeer(), Host: s.GetHost(), State: s.GetState(), Initiator: s.GetInitiator(),
		InitiatorSpi: hex.EncodeToString(s.GetInitiatorSpi()), ResponderSpi: hex.EncodeToString(s.GetResponderSpi()),
		LocalId: s.GetLocalId(), RemoteId: s.GetRemoteId(), LocalAddress: s.GetLocalAddress(), RemoteAddress: s.GetRemoteAddress(),
		Proposal: s.GetProposal(), EstablishTime: s.GetEstablishTime(), RekeyTime: s.GetRekeyTime(), HardTime: s.GetHardTime(),
	}
	var err error
	if status.Children, err = r.ikeChildren(s.GetHost(), name); err != nil {
		return nil, err
	}
	return &operatorv1.IKESecurityAssociation{
		Metadata: &operatorv1.Metadata{
			Name: name, Revision: kv.ModRevision, CreateTime: s.GetEstablishTime(),
			Labels: map[string]string{"peer": s.GetPeer(), "host": s.GetHost(), "state": s.GetState()},
		},
		Status: status,
	}, nil
}

// ikeChildren reads the child SAs of an IKE SA.
func (r reader) ikeChildren(host, spi string) (all []*operatorv1.IKESecurityAssociationStatus_Child, err error) {
	prefix := store.IKEChildPrefix + host + "/"
	r.snapshot.Range(prefix, func(kv store.KV) bool {
		var c controllerv1.IKEChild
		var acks controllerv1.IKEChildAcks
		if err = store.Decode(kv, &c); err != nil {
			return false
		}
		if hex.EncodeToString(c.GetIkeSpi()) != spi {
			return true
		}
		id := strings.TrimPrefix(kv.Key, prefix)
		if _, err = r.load(store.IKEAcksPrefix+host+"/"+id, &acks); err != nil {
			return false
		}
		all = append(all, ikeChild(id, &c, &acks))
		return true
	})
	return all, err
}

func ikeChild(id string, c *controllerv1.IKEChild, acks *controllerv1.IKEChildAcks) *operatorv1.IKESecurityAssociationStatus_Child {
	mode := "tunnel"
	if c.GetTransport() {
		mode = "transport"
	}
	return &operatorv1.IKESecurityAssociationStatus_Child{
		Name: c.GetChild(), InboundSpi: c.GetInboundSpi(), OutboundSpi: c.GetOutboundSpi(),
		Proposal: world.Transform(c.GetTransform()).String(), Mode: mode, Udp: c.GetUdp(),
		Local: selectorTexts(c.GetLocal()), Remote: selectorTexts(c.GetRemote()), Installed: installed(c, acks),
		CreateTime: unix(c.GetCreateTime()), RekeyTime: unix(c.GetSoftTime()), HardTime: unix(c.GetHardTime()), Id: id,
	}
}

// selectorTexts writes selectors as specs have them.
func selectorTexts(all []*typesv1.TrafficSelector) (texts []string) {
	for _, t := range all {
		first, _ := netip.AddrFromSlice(t.GetStartAddress())
		last, _ := netip.AddrFromSlice(t.GetEndAddress())
		s := spd.Selector{
			First: first, Last: last, Proto: uint8(t.GetIpProtocol()),
			Ports: spd.Ports{First: uint16(t.GetStartPort()), Last: uint16(t.GetEndPort())},
		}
		texts = append(texts, s.String())
	}
	return texts
}
