package keying

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikeid"
	"sallyport.dev/sallyport/services/protocol/ikeproposal"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// anyone stands for any identity, and any address.
const anyone = "any"

// retransmits is how often a request is sent again before the peer is dead: with the machine's waits, after 83 s.
const retransmits = 5

// childrenEach is how many child SAs a peer can make for each child of its spec: narrowed ones, and those of rekeying.
const childrenEach = 64

// policy makes a machine's policy of a peer's spec. local is the outer address of the host's end: it is the identity
// where the spec has none.
func (r *reign) policy(c Candidate, host string, local netip.Addr) (ike.Policy, error) {
	s := c.Spec
	p := ike.Policy{
		CertRequests:   r.config.Authenticator.CertRequests(host, ""),
		InitialContact: false, // another controller, or another host, may have its own
		ForceNAT:       s.GetForceUdp(), MOBIKE: s.GetMobike(),
		Hashes: []ikewire.HashAlgorithm{ikewire.HashSHA256, ikewire.HashSHA384, ikewire.HashSHA512, ikewire.HashIdentity},
		Timing: ike.Timing{
			Rekey: s.GetLifetime().GetRekeyTime().AsDuration(), Lifetime: s.GetLifetime().GetHardTime().AsDuration(),
			Reauth: s.GetLifetime().GetReauthTime().AsDuration(), DPD: s.GetDpdInterval().AsDuration(),
			Retransmits: retransmits,
		},
	}
	var err error
	if p.LocalID, err = r.localID(s, local); err != nil {
		return p, err
	}
	if p.RemoteID, err = r.remoteID(s); err != nil {
		return p, err
	}
	if p.Proposals, err = proposals(ikeproposal.IKE, s.GetProposals(), s.GetInsecure()); err != nil {
		return p, err
	}
	for _, c := range s.GetChildren() {
		child, err := childPolicy(s, c)
		if err != nil {
			return p, fmt.Errorf("child %s: %w", c.GetName(), err)
		}
		p.Children = append(p.Children, child)
	}
	p.MaxChildren = childrenEach * max(1, len(p.Children))
	if s.GetRemote().GetMethod() == "null" {
		r.isolate(&p)
	}
	return p, nil
}

// localID is who the host's end says it is.
func (r *reign) localID(s *operatorv1.PeerSpec, local netip.Addr) (ikewire.Identification, error) {
	if text := s.GetLocal().GetId(); text != "" {
		return r.config.Authenticator.ParseIdentity(text)
	}
	return ikeid.OfAddr(local)
}

// remoteID is whom an initiator asks for; Type 0 when more than one may answer.
func (r *reign) remoteID(s *operatorv1.PeerSpec) (ikewire.Identification, error) {
	switch text := s.GetRemote().GetId(); {
	case text == anyone || strings.Contains(text, "*") || strings.Contains(text, "/"):
		return ikewire.Identification{}, nil
	case text != "":
		return r.config.Authenticator.ParseIdentity(text)
	}
	if a := callable(s); a.IsValid() {
		return ikeid.OfAddr(a)
	}
	return ikewire.Identification{}, nil
}

// callable is the one address at which a peer can be called; invalid when there is none.
func callable(s *operatorv1.PeerSpec) netip.Addr {
	if all := s.GetRemoteAddresses(); len(all) == 1 {
		if a, err := netip.ParseAddr(all[0]); err == nil {
			return a
		}
	}
	return netip.Addr{}
}

func proposals(kind ikeproposal.Kind, texts []string, insecure bool) (all []ike.Proposal, err error) {
	protocol := ikewire.ProtocolIKE
	if kind == ikeproposal.ESP {
		protocol = ikewire.ProtocolESP
	}
	for _, text := range texts {
		p := ike.Proposal{Protocol: protocol}
		if p.Transforms, err = ikeproposal.Parse(kind, text, insecure); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func childPolicy(s *operatorv1.PeerSpec, c *operatorv1.PeerChild) (p ike.ChildPolicy, err error) {
	p = ike.ChildPolicy{
		Name: c.GetName(), Rekey: c.GetLifetime().GetRekeyTime().AsDuration(), Lifetime: c.GetLifetime().GetHardTime().AsDuration(),
		Reestablish: s.GetLost() == "restart" && s.GetStart() == "always",
	}
	if c.GetMode() == "transport" {
		p.Mode = ike.Transport
	}
	if p.Proposals, err = proposals(ikeproposal.ESP, c.GetProposals(), s.GetInsecure()); err != nil {
		return p, err
	}
	if p.Local, err = trafficSelectors(c.GetLocal()); err != nil {
		return p, err
	}
	p.Remote, err = trafficSelectors(c.GetRemote())
	return p, err
}

// trafficSelectors reads those of a spec as RFC 7296 section 3.13 has them.
func trafficSelectors(texts []string) (all []ikewire.TrafficSelector, err error) {
	for _, text := range texts {
		selectors, err := spd.ParseSelectors(text)
		if err != nil {
			return nil, err
		}
		for _, s := range selectors {
			all = append(all, trafficSelector(s))
		}
	}
	return all, nil
}

func trafficSelector(s spd.Selector) ikewire.TrafficSelector {
	ts := ike.Range(s.First, s.Last)
	ts.Protocol, ts.StartPort, ts.EndPort = s.Proto, s.Ports.First, s.Ports.Last
	return ts
}

// serves reports whether a host may carry a peer's IKE and traffic.
func serves(s *operatorv1.PeerSpec, host string) bool { return slices.Contains(s.GetHosts(), host) }
