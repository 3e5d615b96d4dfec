package spec

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

// CompletePeer stores the defaults in p.
func CompletePeer(p *operatorv1.Peer) {
	if p.Spec == nil {
		p.Spec = &operatorv1.PeerSpec{}
	}
	s := p.Spec
	if len(s.RemoteAddresses) == 0 {
		s.RemoteAddresses = []string{AnyPeer}
	}
	callable := Callable(s).IsValid()
	pick := func(can, cannot string) string {
		if callable {
			return can
		}
		return cannot
	}
	s.Local, s.Remote = completeAuthentication(s.Local), completeAuthentication(s.Remote)
	if s.Remote.Credential == "" && s.Remote.Method == "psk" {
		s.Remote.Credential = s.Local.Credential
	}
	if len(s.Proposals) == 0 {
		s.Proposals = DefaultIKEProposals()
	}
	s.Lifetime = completeLifetime(s.Lifetime, DefaultIKERekey)
	if s.DpdInterval == nil {
		s.DpdInterval = durationpb.New(DefaultDPD)
	}
	s.Lost = or(s.Lost, pick("restart", "clear"))
	s.Start = or(s.Start, pick("always", "never"))
	if s.Mobike == nil {
		s.Mobike = proto.Bool(true)
	}
	for _, c := range s.Children {
		completeChild(c)
	}
}

func completeAuthentication(a *operatorv1.PeerAuthentication) *operatorv1.PeerAuthentication {
	if a == nil {
		a = &operatorv1.PeerAuthentication{}
	}
	a.Method = or(a.Method, "psk")
	return a
}

func completeChild(c *operatorv1.PeerChild) {
	c.Mode, c.Df = or(c.Mode, "tunnel"), or(c.Df, "copy")
	if len(c.Proposals) == 0 {
		c.Proposals = DefaultESPProposals()
	}
	if c.ReplayWindow == 0 {
		c.ReplayWindow = DefaultReplayWindow
	}
	c.Lifetime = completeLifetime(c.Lifetime, DefaultChildRekey)
}

func completeLifetime(l *operatorv1.PeerLifetime, rekey time.Duration) *operatorv1.PeerLifetime {
	if l == nil {
		l = &operatorv1.PeerLifetime{}
	}
	if l.RekeyTime == nil {
		l.RekeyTime = durationpb.New(rekey)
	}
	if l.HardTime == nil {
		r := l.RekeyTime.AsDuration()
		l.HardTime = durationpb.New(r + max(r/8, 5*time.Second))
	}
	return l
}
