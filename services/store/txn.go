package store

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Bounds of one transaction. etcd's own default limits are 128 operations and
// 1.5 MiB; one compare is kept for the incarnation.
const (
	MaxTxnOps      = 128     // puts and deletes together
	MaxTxnCompares = 127     // compares
	MaxTxnBytes    = 1 << 20 // keys and values, with opOverhead for each operation
)

// opOverhead is what one operation or compare costs on the wire beside its key
// and value, generously.
const opOverhead = 32

type compareKind uint8

const (
	modRevisionIs compareKind = iota
	exists
	createRevisionIs
)

// Compare is a condition on one key. A transaction is applied only when all of
// its conditions hold.
type Compare struct {
	key      string
	kind     compareKind
	revision int64
}

// Unchanged holds while key's ModRevision is modRevision; 0 means that the key
// must not exist.
func Unchanged(key string, modRevision int64) Compare {
	return Compare{key: key, kind: modRevisionIs, revision: modRevision}
}

// Exists holds while key exists.
func Exists(key string) Compare { return Compare{key: key, kind: exists} }

// CreateRevisionIs holds while key is the one that was created at revision.
func CreateRevisionIs(key string, revision int64) Compare {
	return Compare{key: key, kind: createRevisionIs, revision: revision}
}

// Key is the key that the condition is on.
func (c Compare) Key() string { return c.key }

func (c Compare) cmp(prefix string) clientv3.Cmp {
	switch c.kind {
	case exists:
		return clientv3.Compare(clientv3.CreateRevision(prefix+c.key), ">", 0)
	case createRevisionIs:
		return clientv3.Compare(clientv3.CreateRevision(prefix+c.key), "=", c.revision)
	}
	return clientv3.Compare(clientv3.ModRevision(prefix+c.key), "=", c.revision)
}

// conflict returns nil when the condition holds for a key with these revisions.
func (c Compare) conflict(create, mod int64) *ConflictError {
	switch c.kind {
	case exists:
		if create == 0 {
			return &ConflictError{Key: c.key, Want: "present"}
		}
	case createRevisionIs:
		if create != c.revision {
			return &ConflictError{Key: c.key, Want: fmt.Sprintf("created at revision %d", c.revision), Have: create, Create: true}
		}
	default:
		if mod != c.revision {
			return &ConflictError{Key: c.key, Want: wantRevision(c.revision), Have: mod}
		}
	}
	return nil
}

func wantRevision(revision int64) string {
	if revision == 0 {
		return "absent"
	}
	return fmt.Sprintf("revision %d", revision)
}

// Put writes one key. Lease 0 keeps it until it is deleted.
type Put struct {
	Key   string
	Value []byte
	Lease int64
}

// Txn is one atomic write. A key may be put or deleted once in it.
type Txn struct {
	Compares []Compare
	Puts     []Put
	Deletes  []string // keys that are absent are no error
}

// Size is the transaction's weight as MaxTxnBytes counts it, for a store with
// the given prefix.
func (t Txn) Size(prefix string) int {
	n := 0
	for _, c := range t.Compares {
		n += len(prefix) + len(c.key) + opOverhead
	}
	for _, p := range t.Puts {
		n += len(prefix) + len(p.Key) + len(p.Value) + opOverhead
	}
	for _, key := range t.Deletes {
		n += len(prefix) + len(key) + opOverhead
	}
	return n
}

func (t Txn) check(prefix string) error {
	if ops := len(t.Puts) + len(t.Deletes); ops > MaxTxnOps || len(t.Compares) > MaxTxnCompares {
		return fmt.Errorf("%w: %d operations and %d compares, at most %d and %d",
			ErrTxnTooLarge, ops, len(t.Compares), MaxTxnOps, MaxTxnCompares)
	}
	if size := t.Size(prefix); size > MaxTxnBytes {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTxnTooLarge, size, MaxTxnBytes)
	}
	for _, c := range t.Compares {
		if err := CheckKey(c.key); err != nil {
			return err
		}
	}
	return t.checkWrites()
}

func (t Txn) checkWrites() error {
	seen := make(map[string]struct{}, len(t.Puts)+len(t.Deletes))
	note := func(key string) error {
		if _, twice := seen[key]; twice {
			return fmt.Errorf("%w: %s is written twice in one transaction", ErrBadKey, key)
		}
		seen[key] = struct{}{}
		return CheckKey(key)
	}
	for _, p := range t.Puts {
		if err := note(p.Key); err != nil {
			return err
		}
	}
	for _, key := range t.Deletes {
		if err := note(key); err != nil {
			return err
		}
	}
	return nil
}

// Commit applies t whole or not at all and returns the revision it made (etcd's
// head when t wrote nothing). Errors: *ConflictError, ErrTxnTooLarge, ErrBadKey,
// ErrIncarnation after a restore, ErrUnavailable (outcome unknown: read again,
// or repeat a transaction that has compares).
func (s *Store) Commit(ctx context.Context, t Txn) (int64, error) {
	if err := t.check(s.prefix); err != nil {
		return 0, err
	}
	return s.commit(ctx, t, s.begun.Load())
}

// commit adds the fence of the incarnation, when there is one.
func (s *Store) commit(ctx context.Context, t Txn, fence *Incarnation) (int64, error) {
	compares := t.Compares
	if fence != nil {
		compares = append([]Compare{Unchanged(IncarnationKey, fence.ModRevision)}, compares...)
	}
	opCtx, cancel := s.op(ctx)
	defer cancel()
	resp, err := s.client.Txn(opCtx).
		If(s.cmps(compares)...).
		Then(s.writes(t)...).
		Else(s.revisions(compares)...).
		Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		s.forgetLeases()
		return 0, fmt.Errorf("%w: commit: etcd has lost the lease; try again", ErrUnavailable)
	}
	if err != nil {
		return 0, s.wrap(ctx, "commit", err)
	}
	if resp.Succeeded {
		return resp.Header.Revision, nil
	}
	return 0, firstConflict(compares, resp, fence != nil)
}

func (s *Store) cmps(compares []Compare) []clientv3.Cmp {
	out := make([]clientv3.Cmp, len(compares))
	for i, c := range compares {
		out[i] = c.cmp(s.prefix)
	}
	return out
}

func (s *Store) writes(t Txn) []clientv3.Op {
	ops := make([]clientv3.Op, 0, len(t.Puts)+len(t.Deletes))
	for _, p := range t.Puts {
		ops = append(ops, clientv3.OpPut(s.prefix+p.Key, string(p.Value), clientv3.WithLease(clientv3.LeaseID(p.Lease))))
	}
	for _, key := range t.Deletes {
		ops = append(ops, clientv3.OpDelete(s.prefix+key))
	}
	return ops
}

// revisions reads, when a compare has failed, the revisions of all compared
// keys at that very moment, so that the error can name the right one.
func (s *Store) revisions(compares []Compare) []clientv3.Op {
	ops := make([]clientv3.Op, len(compares))
	for i, c := range compares {
		ops[i] = clientv3.OpGet(s.prefix+c.key, clientv3.WithKeysOnly())
	}
	return ops
}

func firstConflict(compares []Compare, resp *clientv3.TxnResponse, fenced bool) error {
	for i, c := range compares {
		if i >= len(resp.Responses) {
			break
		}
		var create, mod int64
		if kvs := resp.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			create, mod = kvs[0].CreateRevision, kvs[0].ModRevision
		}
		conflict := c.conflict(create, mod)
		switch {
		case conflict == nil:
		case fenced && i == 0:
			return ErrIncarnation
		default:
			return conflict
		}
	}
	return ErrConflict
}
