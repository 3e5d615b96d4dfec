package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// auditSlack is how far the clocks of a backup and of the audit file may differ:
// a revocation this long before a backup is replayed too.
const auditSlack = time.Minute

// RestoreOptions are for Restore.
type RestoreOptions struct {
	Now time.Time
	// Audit is where revocations are recorded; those newer than the backup are
	// applied to it. Only WithoutAudit makes a restore run without one: then
	// everything revoked since the backup is trusted again.
	Audit        *Audit
	WithoutAudit bool
}

// RestoreReport says what a restore did.
type RestoreReport struct {
	Backup      BackupInfo
	Incarnation Incarnation  // the new one
	Written     int          // keys
	Tokens      int          // join tokens left out: they are void
	Replayed    []AuditEntry // revocations newer than the backup
}

// restoreMarker stands in etcd while a restore runs. Every transaction of the
// restore compares it.
type restoreMarker struct {
	Floor uint64    `json:"floor"` // highest incarnation known
	Began time.Time `json:"began"`
}

// Restore replaces everything under the prefix with a backup and begins a new,
// higher incarnation. The stream is verified whole before anything is written.
//
//	marker + incarnation deleted ──▶ old keys deleted ──▶ backup written ──▶ marker deleted + new incarnation
//
// From the first step on, every writer of the old incarnation is fenced off.
// After a crash in between, Begin answers ErrRestoring until Restore ran again.
func (s *Store) Restore(ctx context.Context, r io.Reader, o RestoreOptions) (RestoreReport, error) {
	info, kvs, err := readBackup(r, s.keys)
	if err != nil {
		return RestoreReport{}, err
	}
	if info.Prefix != s.prefix {
		return RestoreReport{}, fmt.Errorf("%w: it was made under %s, and sealed values open only there; this store uses %s",
			ErrBackup, info.Prefix, s.prefix)
	}
	report := RestoreReport{Backup: info}
	if report.Replayed, err = o.newer(info); err != nil {
		return RestoreReport{}, err
	}
	kvs, report.Tokens = restorable(kvs, report.Replayed)
	report.Written = len(kvs)
	run := &restoreRun{store: s}
	if err := run.begin(ctx, info.Incarnation, o.Now); err != nil {
		return RestoreReport{}, err
	}
	if err := run.wipe(ctx); err != nil {
		return RestoreReport{}, err
	}
	if err := run.fill(ctx, kvs); err != nil {
		return RestoreReport{}, err
	}
	report.Incarnation, err = run.finish(ctx, o.Now)
	return report, err
}

// newer returns the revocations that the backup does not know of.
func (o RestoreOptions) newer(b BackupInfo) ([]AuditEntry, error) {
	if o.Audit == nil {
		if o.WithoutAudit {
			return nil, nil
		}
		return nil, errors.New("store: restore needs the audit file: without it all that was revoked since the backup is trusted again")
	}
	entries, err := o.Audit.Read()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(entries, func(e AuditEntry) bool { return !e.after(b) }), nil
}

// after reports whether the revocation may be newer than the backup. Revision is
// the head before the write, so an equal one counts.
func (e AuditEntry) after(b BackupInfo) bool {
	switch {
	case e.Incarnation > b.Incarnation:
		return true
	case e.Incarnation == b.Incarnation && e.Revision >= b.Revision:
		return true
	}
	return e.Time.After(b.Created.Add(-auditSlack))
}

// restorable leaves out what must not come back: join tokens, what was revoked,
// and the groups that no backup has.
func restorable(kvs []KV, revoked []AuditEntry) (out []KV, tokens int) {
	gone := map[string]bool{IncarnationKey: true}
	for _, e := range revoked {
		for _, key := range e.deletes() {
			gone[key] = true
		}
	}
	for _, kv := range kvs {
		switch {
		case strings.HasPrefix(kv.Key, TokenPrefix):
			tokens++
		case isTokenResource(kv.Key), gone[kv.Key], slices.ContainsFunc(notBackedUp(), func(p string) bool { return strings.HasPrefix(kv.Key, p) }):
		default:
			out = append(out, kv)
		}
	}
	return out, tokens
}

func isTokenResource(key string) bool {
	return strings.HasPrefix(key, SpecPrefix+string(KindJoinToken)+"/") ||
		strings.HasPrefix(key, StatusPrefix+string(KindJoinToken)+"/")
}

// restoreRun is one restore in progress.
type restoreRun struct {
	store  *Store
	marker Compare
	floor  uint64
}

// begin puts the marker and ends the running incarnation, in one transaction. It
// takes an interrupted restore over; one that still runs fails at its next write.
func (r *restoreRun) begin(ctx context.Context, backup uint64, now time.Time) error {
	marker, err := r.store.getOrZero(ctx, RestoringKey)
	if err != nil {
		return err
	}
	current, err := r.store.getOrZero(ctx, IncarnationKey)
	if err != nil {
		return err
	}
	if r.floor, err = incarnationFloor(backup, marker, current); err != nil {
		return err
	}
	value, err := json.Marshal(restoreMarker{Floor: r.floor, Began: now.UTC()})
	if err != nil {
		return fmt.Errorf("store: restore marker: %w", err)
	}
	revision, err := r.store.commit(ctx, Txn{
		Compares: []Compare{Unchanged(RestoringKey, marker.ModRevision), Unchanged(IncarnationKey, current.ModRevision)},
		Puts:     []Put{{Key: RestoringKey, Value: value}},
		Deletes:  []string{IncarnationKey},
	}, nil)
	r.marker = Unchanged(RestoringKey, revision)
	return err
}

func incarnationFloor(backup uint64, marker, current KV) (uint64, error) {
	floor := backup
	if marker.ModRevision != 0 {
		var m restoreMarker
		if err := json.Unmarshal(marker.Value, &m); err != nil {
			return 0, fmt.Errorf("store: %s is damaged: %w", RestoringKey, err)
		}
		floor = max(floor, m.Floor)
	}
	if current.ModRevision != 0 {
		inc, err := decodeIncarnation(current)
		if err != nil {
			return 0, err
		}
		floor = max(floor, inc.Number)
	}
	if floor == math.MaxUint64 {
		return 0, fmt.Errorf("%w: incarnation %d leaves no higher one", ErrBackup, floor)
	}
	return floor, nil
}

// getOrZero is Get with a zero KV for an absent key.
func (s *Store) getOrZero(ctx context.Context, key string) (KV, error) {
	kv, err := s.Get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		return KV{}, nil
	}
	return kv, err
}

// wipe deletes every key but the marker, page by page.
func (r *restoreRun) wipe(ctx context.Context) error {
	end := clientv3.GetPrefixRangeEnd(r.store.prefix)
	from := r.store.prefix
	for {
		keys, err := r.store.keyPage(ctx, from, end)
		if err != nil || len(keys) == 0 {
			return err
		}
		from = r.store.prefix + keys[len(keys)-1] + "\x00"
		keys = slices.DeleteFunc(keys, func(key string) bool { return key == RestoringKey })
		if err := r.write(ctx, Txn{Deletes: keys}); err != nil {
			return err
		}
	}
}

// keyPage returns the names of up to MaxTxnOps keys.
func (s *Store) keyPage(ctx context.Context, from, end string) ([]string, error) {
	opCtx, cancel := s.op(ctx)
	defer cancel()
	resp, err := s.client.Get(opCtx, from, clientv3.WithRange(end), clientv3.WithLimit(MaxTxnOps), clientv3.WithKeysOnly())
	if err != nil {
		return nil, s.wrap(ctx, "list keys to replace", err)
	}
	keys := make([]string, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		keys[i] = s.kv(kv).Key
	}
	return keys, nil
}

// fill writes the backup in transactions as large as the bounds allow.
func (r *restoreRun) fill(ctx context.Context, kvs []KV) error {
	var t Txn
	for _, kv := range kvs {
		next := append(t.Puts, Put{Key: kv.Key, Value: kv.Value})
		if len(t.Puts) > 0 && (len(next) > MaxTxnOps || r.size(next) > MaxTxnBytes) {
			if err := r.write(ctx, t); err != nil {
				return err
			}
			next = []Put{{Key: kv.Key, Value: kv.Value}}
		}
		t.Puts = next
	}
	return r.write(ctx, t)
}

func (r *restoreRun) size(puts []Put) int {
	return Txn{Compares: []Compare{r.marker}, Puts: puts}.Size(r.store.prefix)
}

func (r *restoreRun) write(ctx context.Context, t Txn) error {
	if len(t.Puts)+len(t.Deletes) == 0 {
		return nil
	}
	t.Compares = []Compare{r.marker}
	_, err := r.store.commit(ctx, t, nil)
	if errors.Is(err, ErrConflict) {
		return fmt.Errorf("store: another restore has taken over: %w", err)
	}
	return err
}

// finish deletes the marker and begins the new incarnation, in one transaction.
func (r *restoreRun) finish(ctx context.Context, now time.Time) (Incarnation, error) {
	inc := nextIncarnation(r.floor, now)
	value, err := encodeIncarnation(inc)
	if err != nil {
		return Incarnation{}, err
	}
	inc.ModRevision, err = r.store.commit(ctx, Txn{
		Compares: []Compare{r.marker},
		Puts:     []Put{{Key: IncarnationKey, Value: value}},
		Deletes:  []string{RestoringKey},
	}, nil)
	if err != nil {
		return Incarnation{}, err
	}
	return inc, nil
}
