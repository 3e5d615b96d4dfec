package ike

import (
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/keyexchange"
)

// TestVerdictsPolicyHoldsForIKE: the policy for the addresses allows what the peer's own does not. A peer that has
// proven who it is gets no IKE SA by the weaker one.
func TestVerdictsPolicyHoldsForIKE(t *testing.T) {
	for name, change := range map[string]func(p *Policy){
		"additional key exchange": func(p *Policy) { withAdditional(p, keyexchange.MLKEM768) },
		"key exchange":            func(p *Policy) { p.Proposals = []Proposal{ikeProposal(keyexchange.P384)} },
		"PPK":                     func(p *Policy) { p.PPK = PPKPolicy{Use: true, Required: true} },
	} {
		t.Run(name, func(t *testing.T) {
			twice(t, func(t *testing.T, restoring bool) {
				a, b := policies()
				l := newLab(t, 1, restoring, a, b)
				_, own := policies()
				change(&own)
				l.bob.decide = func(q VerifyPeer) PeerVerified {
					return PeerVerified{ID: q.ID, Accepted: true, Policy: &own}
				}
				l.alice.initiate()
				l.run(time.Minute, nil)
				if l.bob.established || l.alice.established || l.bob.persisted != nil || len(l.bob.in) > 0 {
					l.fail("established by a policy that is not the peer's")
				}
			})
		})
	}
}
