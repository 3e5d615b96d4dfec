package pad

import (
	"context"
	"net/netip"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/spd"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// Role is an end's in the IKE_SA_INIT exchange.
type Role uint8

// Roles. A claim without one is refused.
const (
	Initiator Role = iota + 1
	Responder
)

// payload returns the name of the role's ID payload.
func (r Role) payload() string {
	if r == Responder {
		return "IDr"
	}
	return "IDi"
}

// Claim is what a peer says in IKE_AUTH, and what it says it about.
type Claim struct {
	// Host is the one that the peer speaks to.
	Host string
	// Role is the peer's.
	Role Role
	// Entry is the one that we called. It is "" when the peer is the initiator and called us.
	Entry string
	// Remote is the peer's ID payload.
	Remote ikewire.Identification
	// Local is the IDr that an initiator sent, to ask for one of our identities. Type 0: it sent none.
	Local ikewire.Identification
	// AUTH and Certs are the peer's payloads, Certs in their order.
	AUTH  ikewire.AUTH
	Certs []ikewire.CERT
	// SignedOctets are the peer's, RFC 7296 section 2.15: they cover Remote as it was received.
	SignedOctets []byte
	// PRF is the IKE SA's.
	PRF transform.PRF
	// NullKey is the peer's SK_pi or SK_pr, for NULL authentication only.
	NullKey []byte
	// Announced are the hashes of the SIGNATURE_HASH_ALGORITHMS that we sent.
	Announced []ikewire.HashAlgorithm
	// Source is the address that the peer speaks from, for the gateway of IPSECKEY records.
	Source netip.Addr
	Now    time.Time
}

// Verdict is who the peer is. The zero Verdict is a refusal.
type Verdict struct {
	// Refusal is why the peer is refused, nil when it is authorised.
	Refusal *Refusal
	// Entry is the peer's. It is the zero Entry when the peer is refused.
	Entry Entry
	// Identity is the peer's, proven: ID_NULL after NULL authentication.
	Identity ikewire.Identification
	// Selectors are what it may have: the entry's, after NULL authentication without what other entries have.
	Selectors []spd.Selector
	// Proof says in words how the identity was proven.
	Proof string
	// Notes are for the operator: what could not be checked, and what was ignored.
	Notes []string
	// Expires is when the proof ends, a certificate's notAfter; zero when it does not.
	Expires time.Time
}

// Authorised reports whether the peer is who it says.
func (v Verdict) Authorised() bool { return v.Refusal == nil && v.Entry.Name != "" }

// Notify returns what a refused peer is told, always the same: which of its words was wrong is not for it.
func (Verdict) Notify() ikewire.NotifyType { return ikewire.AuthenticationFailed }

// Verify judges a claim. It may wait for DNS, CRLs and OCSP, until ctx ends.
func (d *Database) Verify(ctx context.Context, c Claim) Verdict {
	v, refusal := d.judge(ctx, c)
	if refusal != nil {
		return Verdict{Refusal: refusal}
	}
	return v
}

// judge is where a peer becomes authenticated, and the only place.
func (d *Database) judge(ctx context.Context, c Claim) (Verdict, *Refusal) {
	if r := c.check(); r != nil {
		return Verdict{}, r
	}
	e, refusal := d.choose(c)
	if refusal == nil && c.AUTH.Method != ikewire.AuthNull && e.local.Match(c.Remote) {
		refusal = refuse(OwnIdentity, "give the peer an identity of its own", "the peer says that it is %s, which is who we are to it", e.local)
	}
	if refusal != nil {
		if c.AUTH.Method == ikewire.AuthSharedKey {
			d.verifySecret(nil, c) // as long as for an identity that exists
		}
		return Verdict{}, named(refusal, e)
	}
	p, refusal := d.prove(ctx, e, c)
	if refusal != nil {
		return Verdict{}, named(refusal, e)
	}
	v := Verdict{Entry: e.Entry, Identity: c.Remote, Selectors: e.Selectors, Proof: p.words, Notes: p.notes, Expires: p.expires}
	if e.Accept.Null {
		v.Identity = ikewire.Identification{Type: ikewire.IDNull}
	}
	return v, nil
}

func named(r *Refusal, e *entry) *Refusal {
	if e != nil {
		r.Entry = e.Name
	}
	return r
}

func (c Claim) check() *Refusal {
	switch {
	case c.Role != Initiator && c.Role != Responder:
		return refuse(Misuse, "", "a claim of role %d", c.Role)
	case c.Role == Responder && c.Entry == "":
		return refuse(Misuse, "", "a responder's claim without the entry that we called")
	case len(c.SignedOctets) == 0 || c.Now.IsZero():
		return refuse(Misuse, "", "a claim without signed octets or time")
	case len(c.AUTH.Data) == 0:
		return refuse(BadSignature, "", "the AUTH payload is empty")
	}
	if err := c.PRF.Check(); err != nil {
		return refuse(Misuse, "", "%v", err)
	}
	return nil
}

// proof is a proven identity.
type proof struct {
	words   string
	notes   []string
	expires time.Time
}

func (d *Database) prove(ctx context.Context, e *entry, c Claim) (proof, *Refusal) {
	switch c.AUTH.Method {
	case ikewire.AuthSharedKey:
		return d.bySecret(e, c)
	case ikewire.AuthNull:
		return d.byNull(e, c)
	case ikewire.AuthRSA, ikewire.AuthECDSAP256, ikewire.AuthECDSAP384, ikewire.AuthECDSAP521, ikewire.AuthDigitalSig:
		return d.bySignature(ctx, e, c)
	}
	return proof{}, refuse(MethodUnknown, "let the peer authenticate by a pre-shared key or a signature", "the peer authenticates by %s", c.AUTH.Method)
}
