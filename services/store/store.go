package store

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
)

// DefaultPrefix is where Sallyport's keys lie in etcd.
const DefaultPrefix = "/sallyport/v1/"

const (
	defaultOpTimeout = 10 * time.Second
	openTimeout      = 10 * time.Second
	listPage         = 1000
)

// Config says how to reach etcd.
type Config struct {
	Endpoints []string         // unix:///path, http(s)://host:port
	TLS       *tls.Config      // for https endpoints
	Prefix    string           // default DefaultPrefix; begins and ends with a slash
	Keys      *Keyring         // for Seal and its kin; may be nil where nothing is sealed
	OpTimeout time.Duration    // longest wait for one request; default 10 s
	Log       *slog.Logger     // default: discard
	Now       func() time.Time // default: time.Now

	dial []grpc.DialOption // for tests of this package: faults on the wire
}

// Store is one process's connection to etcd. It is safe for concurrent use.
type Store struct {
	client    *clientv3.Client
	endpoints []string
	prefix    string
	keys      *Keyring
	timeout   time.Duration
	log       *slog.Logger
	now       func() time.Time
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc

	begun atomic.Pointer[Incarnation] // set by Begin: fences each Commit

	mu      sync.Mutex
	session *Session
	shared  map[time.Duration]sharedLease
	leading map[string]struct{} // names that this process campaigns for
}

// KV is one key with its value and revisions. Value must not be changed.
type KV struct {
	Key            string // relative to the prefix
	Value          []byte
	CreateRevision int64
	ModRevision    int64
	Lease          int64
}

// Open connects to etcd and waits until it answers. The error is ErrUnavailable
// and names the endpoint when it does not.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(context.Background())
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            c.Endpoints,
		TLS:                  c.TLS,
		Context:              life,
		DialTimeout:          5 * time.Second,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
		Logger:               zapLogger(c.Log),
		DialOptions:          c.dial,
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("store: etcd client for %s: %w", strings.Join(c.Endpoints, ", "), err)
	}
	s := &Store{
		client: client, endpoints: c.Endpoints, prefix: c.Prefix, keys: c.Keys,
		timeout: c.OpTimeout, log: c.Log, now: c.Now, ctx: life, cancel: cancel,
		shared: make(map[time.Duration]sharedLease), leading: make(map[string]struct{}),
	}
	if err := s.probe(ctx, c.TLS); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (c *Config) complete() error {
	if len(c.Endpoints) == 0 {
		return errors.New("store: no etcd endpoint: give --etcd-endpoints, or start the embedded etcd")
	}
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(c.Prefix, "/"), "/")
	if c.Prefix != "/"+inner+"/" {
		return fmt.Errorf("%w: prefix %q must begin and end with one slash", ErrBadKey, c.Prefix)
	}
	if err := CheckKey(inner); err != nil {
		return fmt.Errorf("prefix: %w", err)
	}
	for _, endpoint := range c.Endpoints {
		if err := checkEndpoint(endpoint, c.TLS != nil); err != nil {
			return err
		}
	}
	if c.OpTimeout <= 0 {
		c.OpTimeout = defaultOpTimeout
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// probe waits for the first answer, and tells a person what to do without one.
func (s *Store) probe(ctx context.Context, c *tls.Config) error {
	opCtx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	_, err := s.client.Get(opCtx, s.prefix+IncarnationKey, clientv3.WithKeysOnly())
	if err == nil {
		return nil
	}
	var why []string
	for _, endpoint := range s.endpoints {
		why = append(why, fmt.Sprintf("%s: %v", endpoint, diagnose(endpoint, c)))
	}
	return fmt.Errorf("%w: no answer (%v): %s; check that etcd runs and is reachable, --etcd-endpoints and the TLS files",
		ErrUnavailable, err, strings.Join(why, "; "))
}

// Close ends the session, all views and the connection.
func (s *Store) Close() error {
	s.mu.Lock()
	session := s.session
	s.session = nil
	s.mu.Unlock()
	if session != nil && s.ctx.Err() == nil {
		session.Close()
	}
	s.cancel()
	if err := s.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Prefix is the place of all keys in etcd, "/sallyport/v1/" by default.
func (s *Store) Prefix() string { return s.prefix }

// Endpoints returns the etcd endpoints in use.
func (s *Store) Endpoints() []string { return append([]string(nil), s.endpoints...) }

// op bounds one request to etcd.
func (s *Store) op(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

// Get reads one key, linearizably. The error is ErrNotFound when it is absent.
func (s *Store) Get(ctx context.Context, key string) (KV, error) {
	if err := CheckKey(key); err != nil {
		return KV{}, err
	}
	opCtx, cancel := s.op(ctx)
	defer cancel()
	resp, err := s.client.Get(opCtx, s.prefix+key)
	if err != nil {
		return KV{}, s.wrap(ctx, "get "+key, err)
	}
	if len(resp.Kvs) == 0 {
		return KV{}, fmt.Errorf("%w: %s", ErrNotFound, key)
	}
	return s.kv(resp.Kvs[0]), nil
}

// HeadRevision is etcd's newest revision, read linearizably.
func (s *Store) HeadRevision(ctx context.Context) (int64, error) {
	opCtx, cancel := s.op(ctx)
	defer cancel()
	resp, err := s.client.Get(opCtx, s.prefix+IncarnationKey, clientv3.WithKeysOnly())
	if err != nil {
		return 0, s.wrap(ctx, "read the head revision", err)
	}
	return resp.Header.Revision, nil
}

// ListOptions bound a List.
type ListOptions struct {
	Limit    int64  // at most so many keys; 0 = all
	After    string // only keys after this one, exclusive
	Revision int64  // as of this revision; 0 = now
}

// List reads the keys under prefix in key order, all as of one revision, which
// it returns: give it to the call for the next page. The error is ErrCompacted
// when that revision is gone.
func (s *Store) List(ctx context.Context, prefix string, o ListOptions) ([]KV, int64, error) {
	if err := checkPrefix(prefix); err != nil {
		return nil, 0, err
	}
	from, end := s.prefix+prefix, clientv3.GetPrefixRangeEnd(s.prefix+prefix)
	if o.After != "" {
		if err := CheckKey(o.After); err != nil {
			return nil, 0, err
		}
		from = max(from, s.prefix+o.After+"\x00")
	}
	return s.rangeKeys(ctx, from, end, o.Limit, o.Revision)
}

// rangeKeys reads [from, end), all as of one revision.
func (s *Store) rangeKeys(ctx context.Context, from, end string, limit, revision int64) ([]KV, int64, error) {
	var kvs []KV
	revision, err := s.scan(ctx, from, end, limit, revision, func(kv KV) error {
		kvs = append(kvs, kv)
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return kvs, revision, nil
}

// scan calls f for the keys of [from, end) in pages that are pinned to one
// revision, which it returns. limit 0 means all of them.
func (s *Store) scan(ctx context.Context, from, end string, limit, revision int64, f func(KV) error) (int64, error) {
	if from >= end {
		head, err := s.HeadRevision(ctx)
		return cmp.Or(revision, head), err
	}
	for seen := int64(0); ; {
		page := int64(listPage)
		if limit > 0 {
			page = min(page, limit-seen)
		}
		resp, err := s.rangePage(ctx, from, end, page, revision)
		if err != nil {
			return 0, err
		}
		revision = cmp.Or(revision, resp.Header.Revision)
		for _, kv := range resp.Kvs {
			if err := f(s.kv(kv)); err != nil {
				return 0, err
			}
		}
		seen += int64(len(resp.Kvs))
		if !resp.More || (limit > 0 && seen >= limit) {
			return revision, nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

func (s *Store) rangePage(ctx context.Context, from, end string, page, revision int64) (*clientv3.GetResponse, error) {
	opCtx, cancel := s.op(ctx)
	defer cancel()
	resp, err := s.client.Get(opCtx, from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(revision))
	if err != nil {
		return nil, s.wrap(ctx, "list "+strings.TrimPrefix(from, s.prefix), err)
	}
	return resp, nil
}

func (s *Store) kv(kv *mvccpb.KeyValue) KV {
	return KV{
		Key: strings.TrimPrefix(string(kv.Key), s.prefix), Value: kv.Value,
		CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision, Lease: kv.Lease,
	}
}
