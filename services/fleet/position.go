package fleet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"

	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/store"
)

// proofKey binds proofs to their use; nothing lies under it in the store.
const proofKey = "position"

// haltScope is the intent under which a claim lies that stops delivery.
const haltScope = "halt"

// prover makes and checks proofs of positions: an agent cannot claim to have seen what no controller
// said, or one hostile agent could stop the fleet. The root key seals proofs, so they outlive a
// restore.
type prover struct {
	store *store.Store

	mu   sync.Mutex
	last *typesv1.Position // proofs are shared by all streams
}

func encodePosition(incarnation uint64, revision int64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, incarnation), uint64(revision))
}

// position is a proven position.
func (p *prover) position(incarnation uint64, revision int64) (*typesv1.Position, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last.GetIncarnation() != incarnation || p.last.GetRevision() != revision {
		proof, err := p.store.Seal(proofKey, encodePosition(incarnation, revision))
		if err != nil {
			return nil, fmt.Errorf("fleet: prove a position: %w", err)
		}
		p.last = &typesv1.Position{Incarnation: incarnation, Revision: revision, Proof: proof}
	}
	return p.last, nil
}

// proven says whether a controller made the position.
func (p *prover) proven(claim *typesv1.Position) bool {
	plain, err := p.store.Unseal(proofKey, claim.GetProof())
	return err == nil && string(plain) == string(encodePosition(claim.GetIncarnation(), claim.GetRevision()))
}

// Halt is why nothing is delivered any more.
type Halt struct {
	// Host is the host that has seen more than the store holds.
	Host string
	// Incarnation and Revision are what it has seen.
	Incarnation uint64
	Revision    int64
}

// String says what to do.
func (h Halt) String() string {
	return fmt.Sprintf("the store is older than what host %s has seen (revision %d of incarnation %d): nothing is delivered; run `sallyport restore`",
		h.Host, h.Revision, h.Incarnation)
}

// Halted returns why delivery has stopped; false while it goes on. It never ends in this incarnation: a
// restore begins the next one, and this process ends.
func (s *Service) Halted() (Halt, bool) {
	h := s.halted.Load()
	if h == nil {
		return Halt{}, false
	}
	return *h, true
}

// reach waits until the view has everything that the agent has seen (DESIGN.md rule 3).
func (s *Service) reach(ctx context.Context, host string, seen *typesv1.Position) error {
	if h, halted := s.Halted(); halted {
		return fault.New(fault.Unavailable, h.String()).WithReason(ReasonBehind)
	}
	if seen.GetIncarnation() < s.config.Incarnation {
		return nil
	}
	if seen.GetIncarnation() == s.config.Incarnation {
		err := s.config.View.WaitRevision(ctx, seen.GetRevision())
		if !errors.Is(err, store.ErrBehind) {
			return err
		}
	}
	h := Halt{Host: host, Incarnation: seen.GetIncarnation(), Revision: seen.GetRevision()}
	if !s.prover.proven(seen) {
		s.log.Warn("a host claims a position that no controller has told it; it is not served", "host", host,
			"incarnation", h.Incarnation, "revision", h.Revision)
		return fault.New(fault.Unavailable, "this host claims a position that the store has not reached, without proof: "+
			"remove position.json from the agent's state directory if the fleet was made anew").WithReason(ReasonBehind)
	}
	s.halt(h)
	s.tellHalt(ctx, h, seen)
	return fault.New(fault.Unavailable, h.String()).WithReason(ReasonBehind)
}

func (s *Service) halt(h Halt) {
	if s.halted.CompareAndSwap(nil, &h) {
		s.log.Error("delivery has stopped", "why", h.String())
	}
}

// tellHalt makes the other controllers stop too. The note belongs to this incarnation: the next one does
// not heed it.
func (s *Service) tellHalt(ctx context.Context, h Halt, seen *typesv1.Position) {
	key, err := store.IntentKey(haltScope, h.Host)
	if err == nil {
		var put store.Put
		if put, err = store.PutRecord(key, seen); err == nil {
			_, err = s.config.Store.Commit(ctx, store.Txn{Puts: []store.Put{put}})
		}
	}
	if err != nil {
		s.log.Error("the other controllers could not be told to stop delivery", "err", err)
	}
	s.event(ctx, h.Host, "SyncStopped", true, h.String())
}

// heedHalt stops delivery when another controller has.
func (s *Service) heedHalt(kv *store.KV) {
	host, ok := strings.CutPrefix(kv.Key, store.IntentPrefix+haltScope+"/")
	var seen typesv1.Position
	if !ok || store.Decode(*kv, &seen) != nil || seen.GetIncarnation() < s.config.Incarnation || !s.prover.proven(&seen) {
		return
	}
	s.halt(Halt{Host: host, Incarnation: seen.GetIncarnation(), Revision: seen.GetRevision()})
}
