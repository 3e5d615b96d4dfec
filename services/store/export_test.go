package store

import (
	"context"
	"io"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

// WithDialOptions makes Open put faults on the wire.
func WithDialOptions(c Config, opts ...grpc.DialOption) Config {
	c.dial = opts
	return c
}

// Pending is how many keys a subscription holds changes of.
func (s *Subscription) Pending() int {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	return len(s.pending)
}

// RaiseAlarm raises an alarm of the embedded member, as a full disk would.
func (e *Embedded) RaiseAlarm(ctx context.Context, alarm etcdserverpb.AlarmType) error {
	_, err := e.etcd.Server.Alarm(ctx, &etcdserverpb.AlarmRequest{
		Action: etcdserverpb.AlarmRequest_ACTIVATE, MemberID: uint64(e.etcd.Server.MemberID()), Alarm: alarm,
	})
	return err
}

// ReadAudit is readAudit.
var ReadAudit = readAudit

// ReadBackup is readBackup without the header.
func ReadBackup(r io.Reader, keys *Keyring) ([]KV, error) {
	_, kvs, err := readBackup(r, keys)
	return kvs, err
}

// WriteBackup writes any records as a backup with a right checksum.
func WriteBackup(w io.Writer, keys *Keyring, kvs ...KV) error {
	out, err := newBackupWriter(w, BackupInfo{Prefix: DefaultPrefix})
	if err != nil {
		return err
	}
	for _, kv := range kvs {
		if err := out.record(kv); err != nil {
			return err
		}
	}
	return out.finish(keys)
}

// Compact forgets what was before a revision, and waits until it is gone.
func (e *Embedded) Compact(ctx context.Context, revision int64) error {
	_, err := e.etcd.Server.Compact(ctx, &etcdserverpb.CompactionRequest{Revision: revision, Physical: true})
	return err
}

// StopMember stops the etcd in e behind its back.
func StopMember(e *Embedded) { e.etcd.Server.Stop() }

// MaintainOnce is one round of Maintain.
func (s *Store) MaintainOnce(ctx context.Context, least int64) bool { return s.maintain(ctx, least) }
