package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

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
	if err := election.Campaign(ctx, identity); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
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

// watch ends the leadership when the lease is lost or the key is deleted.
func (l *Leadership) watch(ctx context.Context, session *Session) {
	defer l.end()
	events := l.store.client.Watch(ctx, l.store.prefix+l.key,
		clientv3.WithRev(l.token+1), clientv3.WithFilterPut())
	select {
	case <-events: // deleted, or the watch broke: both end it
	case <-session.Done():
	case <-ctx.Done():
	}
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
