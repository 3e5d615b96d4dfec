package operator

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/store"
)

const (
	// maxTries bounds how often a write is decided again because what it was decided from has changed.
	maxTries = 16
	// catchUp is how long a write waits until this process shows what it wrote.
	catchUp = 2 * time.Second
)

// draft is a transaction that is being decided, from one snapshot. Whatever it reads it compares.
type draft struct {
	service  *Service
	ctx      context.Context
	snapshot *store.Snapshot
	now      time.Time
	dryRun   bool

	txn      store.Txn
	compared map[string]struct{} // keys in txn.Compares
	audit    []store.AuditEntry
	claims   *claim // nil until somebody needs addresses or subnets
	// manual are manual peers as they will be, by name; nil where there will be none, or none is known yet.
	manual map[string]*operatorv1.ManualPeer
	// newHosts are the hosts that the same request makes or changes.
	newHosts map[string]bool
	// newCredentials are the credentials that it makes or changes, and gonePeers the peers that it deletes.
	newCredentials, gonePeers map[string]bool
}

// transact decides and commits until it does not lose against a concurrent write. decide is called anew
// for each try and must keep nothing from the last one. Without writes, or with dryRun, nothing is
// committed and the revision is 0. A refusal is only final when it was decided from what etcd has now:
// the view may lag behind what another controller wrote.
func (s *Service) transact(ctx context.Context, dryRun bool, decide func(*draft) error) (int64, error) {
	fresh := false // decided from what etcd has now
	for range maxTries {
		revision, err := s.try(ctx, dryRun, decide)
		conflict, lost := errors.AsType[*store.ConflictError](err)
		_, refused := errors.AsType[*fault.Error](err)
		switch {
		case lost:
			if err := s.seen(ctx, conflict); err != nil {
				return 0, err
			}
		case refused && !fresh:
			if err := s.current(ctx, err); err != nil {
				return 0, err
			}
			fresh = true
		default:
			return revision, err
		}
	}
	return 0, fault.New(fault.Conflict, "too many changes at the same time: try again").WithReason(ReasonBusy)
}

// current waits until this process has etcd's head. When etcd does not answer, the refusal stands.
func (s *Service) current(ctx context.Context, refusal error) error {
	head, err := s.store.HeadRevision(ctx)
	if err != nil {
		return refusal
	}
	return s.feed.WaitRevision(ctx, head)
}

func (s *Service) try(ctx context.Context, dryRun bool, decide func(*draft) error) (int64, error) {
	snapshot, err := s.snapshot()
	if err != nil {
		return 0, err
	}
	d := &draft{service: s, ctx: ctx, snapshot: snapshot, now: s.now(), dryRun: dryRun, compared: make(map[string]struct{})}
	defer d.release()
	if err := decide(d); err != nil {
		d.doubt()
		return 0, err
	}
	if dryRun || len(d.txn.Puts)+len(d.txn.Deletes) == 0 {
		return 0, nil
	}
	return d.commit()
}

// seen waits until the view and the feed have what the transaction lost against.
func (s *Service) seen(ctx context.Context, conflict *store.ConflictError) error {
	revision := conflict.Have
	if revision == 0 || conflict.Create { // deleted: only etcd's head is known to be late enough
		head, err := s.store.HeadRevision(ctx)
		if err != nil {
			return err
		}
		revision = head
	}
	return s.feed.WaitRevision(ctx, revision)
}

func (d *draft) commit() (revision int64, err error) {
	s := d.service
	if d.claims != nil {
		if err := d.claims.write(&d.txn); err != nil {
			return 0, err
		}
	}
	if len(d.audit) > 0 {
		revision, err = s.store.CommitAudited(d.ctx, s.audit, d.txn, d.audit...)
	} else {
		revision, err = s.store.Commit(d.ctx, d.txn)
	}
	if d.claims != nil {
		d.claims.committed(revision, err)
	}
	return revision, err
}

// doubt makes the next claim read again: what was refused may be possible by now.
func (d *draft) doubt() {
	if d.claims != nil {
		d.claims.of.loaded = false
	}
}

func (d *draft) release() {
	if d.claims != nil {
		d.claims.release()
	}
}

// claim returns the addresses and subnets of all hosts, to check and change.
func (d *draft) claim() (*claim, error) {
	if d.claims == nil {
		c, err := d.service.claim(d.ctx)
		if err != nil {
			return nil, err
		}
		d.claims = c
	}
	return d.claims, nil
}

// fits reports whether all of it can be one transaction. Two operations are kept for the ipam key.
func (d *draft) fits() bool {
	return len(d.txn.Puts)+len(d.txn.Deletes) <= store.MaxTxnOps-2 && len(d.txn.Compares) <= store.MaxTxnCompares-2 &&
		d.txn.Size(d.service.store.Prefix()) <= store.MaxTxnBytes*3/4
}

// get reads a key into m and makes the transaction depend on it. It returns its ModRevision, 0 when it
// is absent.
func (d *draft) get(key string, m proto.Message) (int64, error) {
	kv, found := d.snapshot.Get(key)
	d.compare(store.Unchanged(key, kv.ModRevision))
	if !found {
		return 0, nil
	}
	if err := store.Decode(kv, m); err != nil {
		return 0, unreadable(kv, err)
	}
	return kv.ModRevision, nil
}

// compare adds a condition, once for each key.
func (d *draft) compare(c store.Compare) {
	if _, have := d.compared[c.Key()]; !have {
		d.compared[c.Key()] = struct{}{}
		d.txn.Compares = append(d.txn.Compares, c)
	}
}

// put writes a record.
func (d *draft) put(key string, m proto.Message) error {
	put, err := store.PutRecord(key, m)
	if err == nil {
		d.txn.Puts = append(d.txn.Puts, put)
	}
	return err
}

// delete deletes keys; absent ones are no error.
func (d *draft) delete(keys ...string) { d.txn.Deletes = append(d.txn.Deletes, keys...) }

// revoke has the audit file say who takes something away.
func (d *draft) revoke(kind store.AuditKind, name, reason string) {
	d.audit = append(d.audit, store.AuditEntry{Kind: kind, Name: name, Actor: actor(d.ctx), Reason: reason})
}

// intend leaves the witness of what an operator means, see world.IntentHost.
func (d *draft) intend(scope, name, value string, life time.Duration) error {
	if d.dryRun {
		return nil
	}
	key, err := store.IntentKey(scope, name)
	if err != nil {
		return err
	}
	lease, err := d.service.store.SharedLease(d.ctx, life)
	if err == nil {
		d.txn.Puts = append(d.txn.Puts, store.Put{Key: key, Value: []byte(value), Lease: lease})
	}
	return err
}

// event tells of the transaction, in the transaction.
func (d *draft) event(kind, name, reason string, warning bool, message string) error {
	if d.dryRun {
		return nil
	}
	put, err := d.service.events.Put(d.ctx, kind, name, reason, warning, message)
	if err == nil {
		d.txn.Puts = append(d.txn.Puts, put)
	}
	return err
}

// intentLife is how long a planner that was down can learn that a deletion was meant.
const intentLife = 24 * time.Hour

// actor is who makes the call, for audit and events.
func actor(ctx context.Context) string {
	if c, ok := caller.FromContext(ctx); ok && c.Name != "" {
		return string(c.Role) + "/" + c.Name
	}
	return "controller"
}

// show waits a moment until this process shows what it wrote, so that a client reads its own writes.
// What is late is not lost: an error is none.
func (s *Service) show(ctx context.Context, revision int64) {
	if revision == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, catchUp)
	defer cancel()
	_ = s.feed.WaitRevision(ctx, revision)
}
