package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// DefaultSessionTTL is the session's TTL when Campaign has to begin one.
const DefaultSessionTTL = 10 * time.Second

// closeTimeout bounds what is only tidying up: a lease ends by itself.
const closeTimeout = 2 * time.Second

// Session is the process's lease: keys put with it vanish when the process does.
type Session struct {
	inner *concurrency.Session
	store *Store
}

// Session returns the process's session and begins it with ttl (whole seconds,
// at least 1) when there is none or the last one was lost.
func (s *Store) Session(ctx context.Context, ttl time.Duration) (*Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil && !s.session.lost() {
		return s.session, nil
	}
	session, err := s.newSession(ctx, ttl)
	if err == nil {
		s.session = session
	}
	return session, err
}

func (s *Store) newSession(ctx context.Context, ttl time.Duration) (*Session, error) {
	id, err := s.grant(ctx, ttl)
	if err != nil {
		return nil, err
	}
	inner, err := concurrency.NewSession(s.client, concurrency.WithLease(clientv3.LeaseID(id)),
		concurrency.WithTTL(int(ttl/time.Second)), concurrency.WithContext(s.ctx))
	if err == nil && inner == nil {
		err = errors.New("the lease was lost at once")
	}
	if err != nil {
		return nil, s.wrap(ctx, "keep the session alive", err)
	}
	return &Session{inner: inner, store: s}, nil
}

// Lease is the lease id for Put.Lease.
func (x *Session) Lease() int64 { return int64(x.inner.Lease()) }

// Done is closed when the lease is lost or can no longer be renewed: what was
// put with it is gone, or soon will be.
func (x *Session) Done() <-chan struct{} { return x.inner.Done() }

func (x *Session) lost() bool {
	select {
	case <-x.Done():
		return true
	default:
		return false
	}
}

// Close revokes the lease: its keys are deleted at once.
func (x *Session) Close() error {
	x.inner.Orphan()
	ctx, cancel := context.WithTimeout(x.store.ctx, closeTimeout)
	defer cancel()
	if _, err := x.store.client.Revoke(ctx, x.inner.Lease()); err != nil {
		return x.store.wrap(x.store.ctx, "revoke the session", err)
	}
	return nil
}

func (s *Store) grant(ctx context.Context, ttl time.Duration) (int64, error) {
	if ttl < time.Second {
		return 0, fmt.Errorf("store: a lease lasts at least a second, not %v", ttl)
	}
	opCtx, cancel := s.op(ctx)
	defer cancel()
	resp, err := s.client.Grant(opCtx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return 0, s.wrap(ctx, "grant a lease", err)
	}
	return int64(resp.ID), nil
}

type sharedLease struct {
	id      int64
	granted time.Time
}

// SharedLease returns a lease for keys that expire by themselves, such as
// events. What is put with it lives for ttl to 1.1 × ttl: the writers of a tenth
// of ttl share one lease, since a lease per key would cost etcd dearly.
func (s *Store) SharedLease(ctx context.Context, ttl time.Duration) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if have, ok := s.shared[ttl]; ok && now.Sub(have.granted) < ttl/10 && !now.Before(have.granted) {
		return have.id, nil
	}
	id, err := s.grant(ctx, ttl+ttl/10)
	if err == nil {
		s.shared[ttl] = sharedLease{id: id, granted: now}
	}
	return id, err
}

// forgetLeases makes the next SharedLease begin a new lease: etcd does not know one of them any more, since
// somebody revoked it or put back an older snapshot.
func (s *Store) forgetLeases() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.shared)
}
