package ike

import (
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/keyexchange"
)

// failures are handshakes that must end with nothing at either end.
var failures = []struct {
	name       string
	change     func(l *lab, a, b *Policy)
	alice, bob Reason // why closed; bob's empty: it never had a machine
}{
	{"wrong PSK", func(l *lab, a, b *Policy) { l.alice.psk = "wrong" }, AuthenticationFailed, AuthenticationFailed},
	{"the responder's proof is wrong", func(l *lab, a, b *Policy) {
		l.alice.decide = func(q VerifyPeer) PeerVerified { return PeerVerified{ID: q.ID, Reason: "no"} }
	}, AuthenticationFailed, AuthenticationFailed},
	{"no common proposal", func(l *lab, a, b *Policy) { b.Proposals = []Proposal{ikeProposal(keyexchange.P521)} }, NoProposalChosen, ""},
	{"an additional key exchange that the responder has not", func(l *lab, a, b *Policy) {
		p := ikeProposal(keyexchange.X25519)
		p.Transforms = append(p.Transforms, plain(ikewire.TransformADDKE1, keyexchange.MLKEM768)...)
		a.Proposals = []Proposal{p}
	}, NoProposalChosen, ""},
	{"the responder demands a PPK", func(l *lab, a, b *Policy) { b.PPK = PPKPolicy{Use: true, Required: true} }, NoProposalChosen, ""},
	{"the initiator demands a PPK", func(l *lab, a, b *Policy) {
		a.PPK = PPKPolicy{ID: ikewire.PPKID{Type: ikewire.PPKIDFixed, Data: []byte("q")}, Key: Secret("quantum"), Required: true}
	}, PeerDead, HalfOpenTimeout},
	{"both have another PPK", func(l *lab, a, b *Policy) {
		a.PPK = PPKPolicy{ID: ikewire.PPKID{Type: ikewire.PPKIDFixed, Data: []byte("q")}, Key: Secret("quantum"), Required: true}
		b.PPK = PPKPolicy{Use: true}
		l.bob.ppk = map[string]Secret{"q": Secret("other")}
	}, AuthenticationFailed, AuthenticationFailed},
	{"the peer says that it is us", func(l *lab, a, b *Policy) { b.LocalID = a.LocalID }, Reflected, AuthenticationFailed},
	{"nobody answers", func(l *lab, a, b *Policy) { l.rule = func(*packet) fate { return fate{drop: true} } }, PeerDead, ""},
	{"the answer is lost for good", func(l *lab, a, b *Policy) {
		l.rule = func(p *packet) fate { return fate{drop: p.from.name == "bob"} }
	}, PeerDead, HalfOpenTimeout},
}

func TestHandshakeFailures(t *testing.T) {
	for _, c := range failures {
		t.Run(c.name, func(t *testing.T) {
			twice(t, func(t *testing.T, restoring bool) {
				a, b := policies()
				l := newLab(t, 1, restoring, a, b)
				l.apply(c.change)
				l.alice.initiate()
				l.run(10*time.Minute, func() bool { return l.alice.closed != nil })
				l.run(10*time.Minute, nil)
				if l.alice.m != nil || l.alice.closed.Reason != c.alice {
					l.fail("alice: %v", l.alice.closed)
				}
				if l.bob.m != nil || c.bob == "" && l.bob.closed != nil || c.bob != "" && l.bob.closed.Reason != c.bob {
					l.fail("bob: %v", l.bob.closed)
				}
				if len(l.alice.in)+len(l.bob.in)+len(l.alice.out)+len(l.bob.out) > 0 {
					l.fail("SAs are left")
				}
			})
		})
	}
}
