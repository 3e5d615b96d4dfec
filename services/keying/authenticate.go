package keying

import (
	"context"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
)

// Authenticator is the PAD: it proves who the hosts' end is, and checks who a peer is. It may block, and is called by
// many goroutines.
type Authenticator interface {
	// Verify checks what a peer claims against the candidates, best first, and says which of them it is. It keeps no
	// secret of the claim.
	Verify(ctx context.Context, c Claim) Verdict
	// Sign proves the hosts' end to a peer.
	Sign(ctx context.Context, p Proof) ike.AUTHSigned
}

// Candidate is a peer that may be at the other end.
type Candidate struct {
	Name string
	Spec *operatorv1.PeerSpec
}

// Claim is what a peer says of itself.
type Claim struct {
	Question   ike.VerifyPeer
	Host       string // that relays it
	Candidates []Candidate
}

// Verdict says who it is. Peer is empty when it is nobody who may be; then Reason is for operators, and the peer is
// told nothing of it.
type Verdict struct {
	Peer   string
	Reason string
}

// Proof is what the hosts' end has to prove.
type Proof struct {
	Question ike.SignAUTH
	Peer     Candidate
}
