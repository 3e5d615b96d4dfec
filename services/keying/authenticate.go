package keying

import (
	"context"
	"time"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// Authenticator is the PAD: it proves who the hosts' end is, and checks who a peer is. It may block, and is called by
// many goroutines.
type Authenticator interface {
	// Verify checks what a peer claims against the candidates, best first, and says which of them it is. It keeps no
	// secret of the claim.
	Verify(ctx context.Context, c Claim) Verdict
	// Sign proves the hosts' end to a peer. It also says which certificates the peer is asked for.
	Sign(ctx context.Context, p Proof) ike.AUTHSigned
	// CertRequests are the certificates that are asked for before anybody knows who calls a host.
	CertRequests(host, peer string) []ikewire.CERTREQ
	// ParseIdentity reads an identity of a spec.
	ParseIdentity(text string) (ikewire.Identification, error)
}

// Candidate is a peer that may be at the other end.
type Candidate struct {
	Name string
	Spec *operatorv1.PeerSpec

	revision int64 // of the spec; 0: not looked at
}

// Claim is what a peer says of itself.
type Claim struct {
	Question   ike.VerifyPeer
	Host       string // that relays it
	Candidates []Candidate
}

// Verdict says who it is. Peer is empty when it is nobody who may be; then Reason is for operators, and the peer is
// told nothing of it. Suspect is the peer that it claims to be, if there is one.
type Verdict struct {
	Peer, Suspect string
	Reason        string
	Expires       time.Time // of the proof; zero: never
}

// Proof is what the hosts' end has to prove.
type Proof struct {
	Question ike.SignAUTH
	Host     string // that relays it
	Peer     Candidate
}
