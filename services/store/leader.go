package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

// ErrCampaigning says that this process already leads, or campaigns for, a name.
var ErrCampaigning = errors.New("store: this process already campaigns for that leadership")

// Leadership is held until Done. Holding it is a hint; safety comes from Fence,
// which must be in each transaction that the leader commits.
type Leadership struct {
	store    *Store
	name     string
	election *concurrency.Election
	key      string // relative
	token    int64

	once   sync.Once
	done   chan struct{}
	cancel context.CancelFunc
}

// Campaign waits until this process leads name, or ctx ends. identity says in
// etcd who leads. It uses the process's Session and begins one when needed.
func (s *Store) Campaign(ctx context.Context, name, identity string) (*Leadership, error) {
	prefix, err := leaderPrefix(name)
	if err != nil {
		return nil, err
	}
	if !s.claim(name) {
		return nil, fmt.Errorf("%w: %s", ErrCampaigning, name)
	}
	l, err := s.campaign(ctx, prefix, name, identity)
	if err != nil {
		s.release(name)
	}
	return l, err
}

func (s *Store) campaign(ctx context.Context, prefix, name, identity string) (*Leadership, error) {
	session, err := s.Session(ctx, DefaultSessionTTL)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() { // a lost lease ends the wait
		select {
		case <-session.Done():
			stop(fmt.Errorf("%w: the session was lost", ErrUnavailable))
		case <-ctx.Done():
		}
	}()
	election := concurrency.NewElection(session.inner, s.prefix+prefix)
	elected := make(chan error, 1)
	go func() { elected <- stand(ctx, election, identity) }()
	select {
	case err = <-elected:
	case <-ctx.Done(): // etcd's library withdraws without a time limit: do not wait for it
		err = ctx.Err()
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		s.abandon(session, fmt.Sprintf("%s/%x", prefix, session.Lease()))
		return nil, fmt.Errorf("store: campaign for %s: %w", name, err)
	}
	life, cancel := context.WithCancel(s.ctx)
	l := &Leadership{
		store: s, name: name, election: election, token: election.Rev(),
		key:  strings.TrimPrefix(election.Key(), s.prefix),
		done: make(chan struct{}), cancel: cancel,
	}
	go l.watch(life, session)
	return l, nil
}

// Two campaigns of one process would share the lease's candidate key and both
// win, so the second is refused here.
func (s *Store) claim(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.leading[name]; taken {
		return false
	}
	s.leading[name] = struct{}{}
	return true
}

func (s *Store) release(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.leading, name)
}

// stand waits in line. A candidate that waits for longer than etcd keeps history
// gets ErrCompacted; its key still stands in line, so it goes on.
func stand(ctx context.Context, election *concurrency.Election, identity string) error {
	for {
		err := election.Campaign(ctx, identity)
		if !errors.Is(err, rpctypes.ErrCompacted) {
			return err
		}
	}
}

// abandon takes a candidacy back. A key that stayed would win one day with
// nobody behind it; so when it cannot be deleted, the session must end.
func (s *Store) abandon(session *Session, key string) {
	ctx, cancel := context.WithTimeout(s.ctx, closeTimeout)
	defer cancel()
	if _, err := s.client.Delete(ctx, s.prefix+key); err != nil && s.ctx.Err() == nil {
		s.log.Warn("candidacy not withdrawn: the session ends with it", "key", key, "err", err)
		session.inner.Orphan()
	}
}

// watch ends the leadership when the lease is lost or the key is deleted.
func (l *Leadership) watch(ctx context.Context, session *Session) {
	defer l.end()
	go func() {
		select {
		case <-session.Done():
			l.end()
		case <-ctx.Done():
		}
	}()
	for ctx.Err() == nil {
		held, err := l.followKey(ctx)
		switch {
		case err != nil:
			pause(ctx, followRetry)
		case !held:
			return
		}
	}
}

// followKey returns held false once the key is gone, and an error or held true
// when the watch broke and the key must be looked at again.
func (l *Leadership) followKey(ctx context.Context) (held bool, err error) {
	opCtx, cancel := l.store.op(ctx)
	resp, err := l.store.client.Get(opCtx, l.store.prefix+l.key, clientv3.WithKeysOnly())
	cancel()
	if err != nil {
		return true, err
	}
	if len(resp.Kvs) == 0 || resp.Kvs[0].CreateRevision != l.token {
		return false, nil
	}
	watchCtx, stop := context.WithCancel(ctx)
	defer stop()
	for resp := range l.store.client.Watch(watchCtx, l.store.prefix+l.key,
		clientv3.WithRev(resp.Header.Revision+1), clientv3.WithFilterPut()) {
		if err := resp.Err(); err != nil {
			return true, err
		}
		if len(resp.Events) > 0 {
			return false, nil
		}
	}
	return true, errors.New("the watch ended")
}

func (l *Leadership) end() {
	l.once.Do(func() {
		close(l.done)
		l.cancel()
		l.store.release(l.name)
	})
}

// Token is the fencing token: the create revision of the leader's key. A later
// leader of the same name has a higher one.
func (l *Leadership) Token() int64 { return l.token }

// Fence is the compare that makes a transaction fail once this leadership ended.
func (l *Leadership) Fence() Compare { return CreateRevisionIs(l.key, l.token) }

// Done is closed when the leadership is known to have ended.
func (l *Leadership) Done() <-chan struct{} { return l.done }

// Resign gives the leadership up.
func (l *Leadership) Resign(ctx context.Context) error {
	opCtx, cancel := l.store.op(ctx)
	defer cancel()
	err := l.election.Resign(opCtx)
	l.end()
	return l.store.wrap(ctx, "resign "+l.name, err)
}
