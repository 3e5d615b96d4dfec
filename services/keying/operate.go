package keying

import (
	"context"
	"fmt"
	"slices"
	"strings"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// subject is a peer that an operator asks about.
type subject struct {
	*reign
	name string
	uid  plan.UID
	spec *operatorv1.PeerSpec
}

// subject finds a peer, and the child if one is named.
func (s *Service) subject(name, child string) (subject, error) {
	r, err := s.leading()
	if err != nil {
		return subject{}, err
	}
	p, ok := r.peerSpec(name)
	if !ok {
		return subject{}, fault.Newf(fault.NotFound, "Peer %q does not exist", name).WithReason("NOT_FOUND").WithResource("Peer", name)
	}
	uid, err := plan.ParseUID(p.GetMetadata().GetUid())
	if err != nil {
		return subject{}, err
	}
	sub := subject{r, name, uid, p.GetSpec()}
	if child != "" && !sub.hasChild(child) {
		return subject{}, fault.Newf(fault.NotFound, "Peer %q has no child %q", name, child).WithReason("NOT_FOUND").WithResource("Peer", name)
	}
	return sub, nil
}

func (s subject) hasChild(name string) bool {
	for _, c := range s.spec.GetChildren() {
		if c.GetName() == name {
			return true
		}
	}
	return false
}

// mine are the associations with the peer.
func (s subject) mine() []*association {
	return s.associations(func(a *association) bool { return a.peer() == s.name && a.live() })
}

// setDown writes down whether the peer is to be called.
func (s subject) setDown(down bool) error {
	key, err := store.PeerWishKey(s.name)
	if err != nil {
		return err
	}
	put, err := store.PutRecord(key, &controllerv1.PeerWish{PeerUid: s.uid[:], Down: down})
	if err != nil {
		return err
	}
	_, err = s.commit(store.Txn{Puts: []store.Put{put}})
	return err
}

// UpPeer implements operatorv1.PeerServiceServer.
func (s *Service) UpPeer(_ context.Context, req *operatorv1.UpPeerRequest) (*operatorv1.UpPeerResponse, error) {
	sub, err := s.subject(req.GetName(), req.GetChild())
	if err != nil {
		return nil, err
	}
	if err := sub.setDown(false); err != nil {
		return nil, err
	}
	sub.calls.forget(sub.name)
	response := &operatorv1.UpPeerResponse{}
	up := make(map[string]bool)
	var through *association
	for _, a := range sub.mine() {
		if a.established() {
			through = a
		}
		for _, c := range a.status().Children {
			up[c.Name] = true
		}
	}
	for _, c := range sub.spec.GetChildren() {
		switch name := c.GetName(); {
		case req.GetChild() != "" && req.GetChild() != name:
		case up[name]:
			response.Up = append(response.Up, name)
		default:
			response.Children = append(response.Children, name)
		}
	}
	if len(response.GetChildren()) == 0 {
		return response, nil
	}
	if through != nil {
		for _, name := range response.GetChildren() {
			through.command(ike.CreateChild{Name: name})
		}
		return response, nil
	}
	return response, sub.callNow()
}

// callNow calls a peer that has no IKE SA.
func (s subject) callNow() error {
	if len(s.mine()) > 0 {
		return nil
	}
	a, err := s.initiate(s.name, s.spec, nil)
	switch {
	case err != nil:
		return fault.Newf(fault.FailedPrecondition, "peer %q cannot be called: %v", s.name, err).WithReason("NOT_CALLABLE")
	case a == nil:
		return fault.Newf(fault.Unavailable, "no agent of the hosts of peer %q (%s) is connected", s.name, strings.Join(s.spec.GetHosts(), ", ")).WithReason("HOST_AWAY")
	}
	return nil
}

// DownPeer implements operatorv1.PeerServiceServer.
func (s *Service) DownPeer(_ context.Context, req *operatorv1.DownPeerRequest) (*operatorv1.DownPeerResponse, error) {
	sub, err := s.subject(req.GetName(), req.GetChild())
	if err != nil {
		return nil, err
	}
	response := &operatorv1.DownPeerResponse{}
	if req.GetChild() != "" {
		response.Children = sub.eachChild(req.GetChild(), func(a *association, id uint64) { a.command(ike.DeleteChild{ID: id}) })
		return response, nil
	}
	if err := sub.setDown(true); err != nil {
		return nil, err
	}
	response.Children = sub.eachChild("", func(*association, uint64) {})
	for _, a := range sub.mine() {
		if a.close("an operator has taken the peer down") {
			response.IkeSas++
		}
	}
	return response, nil
}

// eachChild yields the child SAs of that name, or all, and returns how many there are.
func (s subject) eachChild(name string, do func(a *association, id uint64)) (n uint32) {
	for _, a := range s.mine() {
		for _, c := range a.status().Children {
			if name == "" || c.Name == name {
				do(a, c.ID)
				n++
			}
		}
	}
	return n
}

// RekeyPeer implements operatorv1.PeerServiceServer.
func (s *Service) RekeyPeer(_ context.Context, req *operatorv1.RekeyPeerRequest) (*operatorv1.RekeyPeerResponse, error) {
	sub, err := s.subject(req.GetName(), req.GetChild())
	if err != nil {
		return nil, err
	}
	response := &operatorv1.RekeyPeerResponse{}
	if !req.GetIke() {
		response.Children = sub.eachChild(req.GetChild(), func(a *association, id uint64) { a.command(ike.RekeyChild{ID: id}) })
		return response, nil
	}
	for _, a := range sub.mine() {
		if a.established() && a.command(ike.RekeyIKE{}) {
			response.IkeSas++
		}
	}
	return response, nil
}

// ExplainPeer implements operatorv1.PeerServiceServer.
func (s *Service) ExplainPeer(_ context.Context, req *operatorv1.ExplainPeerRequest) (*operatorv1.ExplainPeerResponse, error) {
	sub, err := s.subject(req.GetName(), "")
	if err != nil {
		return nil, err
	}
	response := &operatorv1.ExplainPeerResponse{Exchanges: sub.records.tell(sub.name)}
	response.Summary = sub.summary(response.GetExchanges())
	return response, nil
}

// summary says how a peer stands.
func (s subject) summary(past []*operatorv1.ExplainPeerResponse_Exchange) string {
	var up []string
	established := 0
	for _, a := range s.mine() {
		if a.established() {
			established++
		}
		for _, c := range a.status().Children {
			up = append(up, c.Name)
		}
	}
	switch {
	case len(up) > 0:
		return fmt.Sprintf("peer %s: %d IKE SA, child SAs: %s", s.name, established, strings.Join(up, ", "))
	case established > 0:
		return fmt.Sprintf("peer %s is authenticated, but has no child SA", s.name)
	case s.wish(s.name, s.uid).GetDown():
		return fmt.Sprintf("peer %s was taken down by an operator: sallyport peer up %s", s.name, s.name)
	}
	if e := lastFailure(past); e != nil {
		text := fmt.Sprintf("peer %s is not up: %s: %s", s.name, e.GetExchange(), e.GetLines()[len(e.GetLines())-1])
		if e.GetAdvice() != "" {
			text += " → " + e.GetAdvice()
		}
		return text
	}
	if s.anyRelay() {
		return fmt.Sprintf("peer %s has not been heard of", s.name)
	}
	return fmt.Sprintf("peer %s cannot be reached: no agent of its hosts (%s) is connected", s.name, strings.Join(s.spec.GetHosts(), ", "))
}

// lastFailure is the newest exchange that failed in itself, before the end of an IKE SA that followed from it.
func lastFailure(past []*operatorv1.ExplainPeerResponse_Exchange) (last *operatorv1.ExplainPeerResponse_Exchange) {
	for _, e := range slices.Backward(past) {
		if e.GetOk() || len(e.GetLines()) == 0 {
			continue
		}
		if last = e; e.GetExchange() != endOfIKESA {
			return e
		}
	}
	return last
}

// anyRelay reports whether an agent of the peer's hosts relays IKE.
func (s subject) anyRelay() bool {
	for _, host := range s.spec.GetHosts() {
		if s.relays.has(host) {
			return true
		}
	}
	return false
}
