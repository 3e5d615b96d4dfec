package store

import (
	"context"
	"errors"
)

// CommitAudited commits a transaction that revokes something, after it has put
// the entries into the audit file. When the transaction is known to have failed
// the entries are voided; when its outcome is unknown they stand, so that a
// restore errs on the side of revoking.
func (s *Store) CommitAudited(ctx context.Context, a *Audit, t Txn, entries ...AuditEntry) (int64, error) {
	if err := t.check(s.prefix); err != nil {
		return 0, err
	}
	head, err := s.HeadRevision(ctx)
	if err != nil {
		return 0, err
	}
	written := make([]AuditEntry, 0, len(entries))
	for _, e := range entries {
		e.Revision = head
		if begun := s.begun.Load(); begun != nil {
			e.Incarnation = begun.Number
		}
		if e, err = a.Append(e); err != nil {
			return 0, errors.Join(err, voidAll(a, written))
		}
		written = append(written, e)
	}
	revision, err := s.Commit(ctx, t)
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrIncarnation) {
		return 0, errors.Join(err, voidAll(a, written))
	}
	return revision, err
}

func voidAll(a *Audit, entries []AuditEntry) error {
	var errs []error
	for _, e := range entries {
		_, err := a.Append(AuditEntry{Kind: auditVoid, Name: e.ID})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
