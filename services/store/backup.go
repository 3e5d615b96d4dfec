package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// notBackedUp are the groups that a restore must not bring back, in key order:
// traffic keys and their phases, IKE SAs, agents' epochs, what lies under a lease,
// leadership, and the marker of a restore. The slice is a function's, since it must not change.
func notBackedUp() []string {
	return []string{EpochPrefix, EventPrefix, "ike/", IntentPrefix, LeaderPrefix, LivePrefix, RestoringKey, "sa/"}
}

// BackupInfo stands at the head of a backup.
type BackupInfo struct {
	Prefix      string    `json:"prefix"`
	Incarnation uint64    `json:"incarnation"`
	Revision    int64     `json:"revision"`
	Created     time.Time `json:"created"`
	Keys        uint64    `json:"-"`
}

// Backup writes all that is worth keeping, as of one revision. Sealed values
// stay sealed: the backup is of no use without the root key file, which must be
// kept apart from it. The error is ErrCompacted when it took so long that etcd
// compacted the revision: run it again.
func (s *Store) Backup(ctx context.Context, w io.Writer) (BackupInfo, error) {
	info, err := s.backupInfo(ctx)
	if err != nil {
		return BackupInfo{}, err
	}
	out, err := newBackupWriter(w, info)
	if err != nil {
		return BackupInfo{}, err
	}
	from := s.prefix
	for _, skip := range append(notBackedUp(), "") {
		end := s.prefix + skip
		if skip == "" {
			end = clientv3.GetPrefixRangeEnd(s.prefix)
		}
		if _, err := s.scan(ctx, from, end, 0, info.Revision, out.record); err != nil {
			return BackupInfo{}, err
		}
		from = clientv3.GetPrefixRangeEnd(end)
	}
	info.Keys = out.count
	return info, out.finish(s.keys)
}

// backupInfo reads the incarnation and the head, which is the revision that the
// backup is pinned to.
func (s *Store) backupInfo(ctx context.Context) (BackupInfo, error) {
	inc, err := s.ReadIncarnation(ctx)
	if errors.Is(err, ErrNotFound) {
		return BackupInfo{}, fmt.Errorf("%w: nothing to back up: no controller has begun an incarnation here", ErrNotFound)
	}
	if err != nil {
		return BackupInfo{}, err
	}
	head, err := s.HeadRevision(ctx)
	if err != nil {
		return BackupInfo{}, err
	}
	return BackupInfo{Prefix: s.prefix, Incarnation: inc.Number, Revision: head, Created: s.now().UTC()}, nil
}
