package ipseckey

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/singleflight"
)

// What a lookup may end in.
var (
	// ErrInsecure: the resolver did not say that the answer is secure.
	ErrInsecure = errors.New("the DNS answer is not secure")
	// ErrNoRecord: the name exists or not, but it has no IPSECKEY record.
	ErrNoRecord = errors.New("no IPSECKEY record")
	// ErrLookup: there was no answer, or the answer was an error.
	ErrLookup = errors.New("DNS lookup failed")
	// ErrUntrusted: the resolver is neither on loopback nor named as trusted.
	ErrUntrusted = errors.New("the path to the resolver is not trusted")
)

const (
	minTTL      = 5 * time.Second
	maxTTL      = time.Hour        // bounds how long a withdrawn key is believed
	negativeTTL = 30 * time.Second // of "no record" and "not secure"
	maxCached   = 4096
	lookupTime  = 8 * time.Second
	maxLookups  = 32 // at once
)

// Config makes a Resolver.
type Config struct {
	// Server is a validating resolver.
	Server netip.AddrPort
	// TrustPath says that nobody can change datagrams between here and a Server that is not on loopback.
	TrustPath bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Resolver looks IPSECKEY records up and remembers them. It is safe for concurrent use.
type Resolver struct {
	server netip.AddrPort
	now    func() time.Time
	slots  chan struct{}
	flight singleflight.Group

	mu    sync.Mutex
	cache map[string]cached // guarded by mu
}

type cached struct {
	answer  Answer
	err     error
	expires time.Time
}

// Answer is a secure answer.
type Answer struct {
	Owner   string   // the name that was asked for
	Records []Record // at least one
	Broken  int      // records besides them that could not be read
}

// New returns a resolver. Error: ErrUntrusted, or a server without address or port.
func New(c Config) (*Resolver, error) {
	if !c.Server.IsValid() || c.Server.Port() == 0 {
		return nil, fmt.Errorf("resolver %q: an address and a port are needed, e.g. 127.0.0.1:53", c.Server)
	}
	if !c.Server.Addr().Unmap().IsLoopback() && !c.TrustPath {
		return nil, fmt.Errorf("resolver %s: %w; use a validating resolver on loopback, or say that the path is trusted", c.Server, ErrUntrusted)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Resolver{server: c.Server, now: c.Now, slots: make(chan struct{}, maxLookups), cache: map[string]cached{}}, nil
}

// Lookup returns the secure records of an owner, as OwnerOfName or OwnerOfAddr made it. Concurrent lookups
// of one owner share one question. Errors: ErrInsecure, ErrNoRecord, ErrLookup, or the context's.
func (r *Resolver) Lookup(ctx context.Context, owner string) (Answer, error) {
	if hit, ok := r.recall(owner); ok {
		return hit.answer, hit.err
	}
	done := r.flight.DoChan(owner, func() (any, error) {
		// The question outlives a caller that gives up: another one may share it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTime)
		defer cancel()
		return r.fetch(ctx, owner)
	})
	select {
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("%s: %w", owner, ctx.Err())
	case result := <-done:
		a, _ := result.Val.(Answer)
		return a, result.Err
	}
}

func (r *Resolver) fetch(ctx context.Context, owner string) (Answer, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return Answer{}, fmt.Errorf("%w: %s: too many lookups at once", ErrLookup, owner)
	}
	got, err := ask(ctx, r.server, owner)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %s: %w", ErrLookup, owner, err)
	}
	a, ttl, err := judge(owner, got)
	if ttl > 0 {
		r.remember(owner, cached{a, err, r.now().Add(ttl)})
	}
	return a, err
}

// judge turns a reply into an answer and how long it may be remembered, 0 for not at all.
func judge(owner string, got reply) (Answer, time.Duration, error) {
	switch {
	case got.rcode == dnsmessage.RCodeNameError, got.rcode == dnsmessage.RCodeSuccess && len(got.records)+got.broken == 0:
		return Answer{}, negativeTTL, fmt.Errorf("%w: %s", ErrNoRecord, owner)
	case got.rcode != dnsmessage.RCodeSuccess:
		return Answer{}, 0, fmt.Errorf("%w: %s: the resolver says %s; a bogus signature gives SERVFAIL too", ErrLookup, owner, got.rcode)
	case !got.secure:
		return Answer{}, negativeTTL, fmt.Errorf("%w: %s: sign the zone, and see that the resolver validates", ErrInsecure, owner)
	case len(got.records) == 0:
		return Answer{}, negativeTTL, fmt.Errorf("%w: %s: none of its %d records can be read", ErrNoRecord, owner, got.broken)
	}
	return Answer{Owner: owner, Records: got.records, Broken: got.broken}, min(max(got.ttl, minTTL), maxTTL), nil
}

func (r *Resolver) recall(owner string) (cached, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	hit, ok := r.cache[owner]
	return hit, ok && r.now().Before(hit.expires)
}

func (r *Resolver) remember(owner string, c cached) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.cache) >= maxCached {
		now := r.now()
		maps.DeleteFunc(r.cache, func(_ string, old cached) bool { return !now.Before(old.expires) })
	}
	if len(r.cache) >= maxCached { // all of it is fresh: one goes, whichever the map gives first
		for name := range r.cache {
			delete(r.cache, name)
			break
		}
	}
	r.cache[owner] = c
}
