// Package peerauth lets package keying authenticate peers by the PAD: it makes the PAD of Peers and Credentials, and
// translates between the two.
package peerauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/keying"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
	"sallyport.dev/sallyport/services/store"
)

// Config is what New needs. Store (with a keyring) and View are required.
type Config struct {
	Store      *store.Store
	View       *store.View
	Resolver   pad.KeyResolver       // nil: no IPSECKEY
	Revocation pad.RevocationChecker // nil: no certificates
	Now        func() time.Time      // nil: time.Now
	Log        *slog.Logger          // nil: discard
}

// PAD is a keying.Authenticator.
type PAD struct {
	config Config

	mu    sync.Mutex
	built map[netip.Addr]build // by our outer address, which is our identity where a spec has none
}

// build is a PAD, and what of the store it was made from.
type build struct {
	of       uint64
	database *pad.Database
	wrong    map[string]error // by the peer that is not in it
}

// maxBuilt bounds how many PADs are kept.
const maxBuilt = 64

// New makes a PAD that reads the store when it is asked.
func New(c Config) *PAD {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &PAD{config: c, built: make(map[netip.Addr]build)}
}

// Verify implements keying.Authenticator.
func (p *PAD) Verify(ctx context.Context, c keying.Claim) keying.Verdict {
	q := c.Question
	prf, err := transform.PRFByID(q.PRF)
	if err != nil {
		return keying.Verdict{Reason: err.Error()}
	}
	b, err := p.build(q.Path.Local.Addr())
	if err != nil {
		return keying.Verdict{Reason: err.Error()}
	}
	claim := pad.Claim{
		Host: c.Host, Role: pad.Initiator, Remote: q.IDi, Local: q.IDr, AUTH: q.AUTH, Certs: q.Certificates,
		SignedOctets: q.SignedOctets, PRF: prf, NullKey: q.NullKey, Announced: pad.Announce(), Source: q.Path.Remote.Addr(), Now: p.config.Now(),
	}
	if !q.Initiator {
		if len(c.Candidates) != 1 {
			return keying.Verdict{Reason: "the peer that was called is no more"}
		}
		claim.Role, claim.Entry, claim.Remote, claim.Local = pad.Responder, c.Candidates[0].Name, q.IDr, q.IDi
		if wrong := b.wrong[claim.Entry]; wrong != nil {
			return keying.Verdict{Reason: wrong.Error()}
		}
	}
	v := b.database.Verify(ctx, claim)
	switch {
	case !v.Authorised():
		return keying.Verdict{Suspect: v.Refusal.Entry, Reason: v.Refusal.Error()}
	case !slices.ContainsFunc(c.Candidates, func(o keying.Candidate) bool { return o.Name == v.Entry.Name }):
		return keying.Verdict{
			Suspect: v.Entry.Name, Reason: fmt.Sprintf("peer %s has proven who it is, but speaks from %v, which spec.remote_addresses does not have", v.Entry.Name, claim.Source),
		}
	}
	for _, note := range v.Notes {
		p.config.Log.Info("peer authenticated, with a note", "peer", v.Entry.Name, "note", note)
	}
	return keying.Verdict{Peer: v.Entry.Name, Reason: v.Proof, Expires: v.Expires}
}

// Sign implements keying.Authenticator.
func (p *PAD) Sign(_ context.Context, proof keying.Proof) ike.AUTHSigned {
	q := proof.Question
	signed := ike.AUTHSigned{ID: q.ID, CertRequests: p.CertRequests(proof.Host, proof.Peer.Name)}
	prf, err := transform.PRFByID(q.PRF)
	if err == nil {
		err = p.sign(&signed, proof, prf)
	}
	if err != nil {
		signed.Failed = err.Error()
	}
	return signed
}

func (p *PAD) sign(signed *ike.AUTHSigned, proof keying.Proof, prf transform.PRF) error {
	q := proof.Question
	local, _ := q.LocalID.Addr()
	b, err := p.build(local)
	if err != nil {
		return err
	}
	if wrong := b.wrong[proof.Peer.Name]; wrong != nil {
		return wrong
	}
	want := pad.Proof{
		Entry: proof.Peer.Name, SignedOctets: q.SignedOctets, PRF: prf, NullKey: q.NullKey, PeerHashes: q.Hashes,
		Requests: q.CertRequests, Methods: q.Methods,
	}
	auth, err := b.database.Prove(want)
	if err != nil {
		return err
	}
	signed.AUTH, signed.Certificates = auth.Payload, auth.Certs
	if q.WithoutPPK == nil {
		return nil
	}
	want.SignedOctets = q.WithoutPPK
	if auth, err = b.database.Prove(want); err == nil {
		signed.WithoutPPK = auth.Payload.Data
	}
	return err
}

// CertRequests implements keying.Authenticator.
func (p *PAD) CertRequests(host, peer string) []ikewire.CERTREQ {
	b, err := p.build(netip.Addr{})
	if err != nil {
		return nil
	}
	return b.database.CertRequests(host, peer)
}

// ParseIdentity implements keying.Authenticator.
func (p *PAD) ParseIdentity(text string) (ikewire.Identification, error) {
	return pad.ParseIdentity(text)
}

// build returns the PAD of the store as it is now.
func (p *PAD) build(local netip.Addr) (build, error) {
	snapshot := p.config.View.Snapshot()
	of := revisionOf(snapshot)
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.built[local]; ok && b.of == of {
		return b, nil
	}
	b, err := p.make(snapshot, local)
	if err != nil {
		return b, err
	}
	for name, wrong := range b.wrong {
		p.config.Log.Warn("a peer cannot be authenticated", "peer", name, "err", wrong)
	}
	if b.of = of; len(p.built) >= maxBuilt {
		clear(p.built)
	}
	p.built[local] = b
	return b, nil
}

// revisionOf tells states of what a PAD is made from apart.
func revisionOf(s *store.Snapshot) uint64 {
	h := fnv.New64a()
	for _, prefix := range []string{store.SpecPrefix + string(store.KindPeer) + "/", store.SpecPrefix + string(store.KindCredential) + "/", store.CredentialPrefix} {
		s.Range(prefix, func(kv store.KV) bool {
			fmt.Fprintf(h, "%s %d\n", kv.Key, kv.ModRevision)
			return true
		})
	}
	return h.Sum64()
}

// nobody is 1 of a peer of NULL authentication, else 0.
func nobody(p *operatorv1.Peer) int {
	if p.GetSpec().GetRemote().GetMethod() == "null" {
		return 1
	}
	return 0
}

// make makes a PAD. What does not fit into it beside the others is left out.
func (p *PAD) make(s *store.Snapshot, local netip.Addr) (build, error) {
	b := build{wrong: make(map[string]error)}
	config := pad.Config{Resolver: p.config.Resolver, Revocation: p.config.Revocation}
	r := &reader{store: p.config.Store, snapshot: s, local: local}
	config.Authorities = r.authorities()
	peers := r.peers()
	// Nobody's come last: they leave room, and never take it.
	slices.SortStableFunc(peers, func(a, b *operatorv1.Peer) int { return cmp.Compare(nobody(a), nobody(b)) })
	for _, peer := range peers {
		name := peer.GetMetadata().GetName()
		e, err := r.entry(peer)
		if err == nil {
			with := config
			with.Entries = append(slices.Clone(config.Entries), e)
			if _, err = pad.New(with); err == nil {
				config = with
			}
		}
		if err != nil {
			b.wrong[name] = err
		}
	}
	var err error
	if b.database, err = pad.New(config); err != nil {
		return b, errors.Join(errors.New("peerauth: there is no PAD"), err)
	}
	return b, nil
}
