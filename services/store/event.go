package store

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

const (
	eventLife = 24 * time.Hour
	// A host that flaps must not fill etcd: so many events at once, then so many a second.
	eventBurst  = 200
	eventPerSec = 10
	// maxEventText bounds each text of an event, which may quote what an agent says.
	maxEventText = 1024
)

// Events writes what operators see as events. They live for a day. It is safe
// for concurrent use.
type Events struct {
	store *Store
	log   *slog.Logger

	mu      sync.Mutex
	tokens  float64
	updated time.Time
	dropped int
}

// NewEvents returns a writer of events. log may be nil.
func NewEvents(s *Store, log *slog.Logger) *Events {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Events{store: s, log: log, tokens: eventBurst, updated: s.now()}
}

// Event writes one event, about a resource by its kind (as in "Host") and name.
// An event must not fail what it tells of: errors, and events above the rate
// limit, are logged only.
func (e *Events) Event(ctx context.Context, aboutKind, aboutName, reason string, warning bool, message string) {
	level := slog.LevelInfo
	if warning {
		level = slog.LevelWarn
	}
	e.log.Log(ctx, level, message, "reason", reason, "kind", aboutKind, "name", aboutName)
	if !e.take() {
		return
	}
	put, err := e.Put(ctx, aboutKind, aboutName, reason, warning, message)
	if err == nil {
		_, err = e.store.Commit(ctx, Txn{Puts: []Put{put}})
	}
	if err != nil {
		e.log.Warn("an event was not written", "reason", reason, "kind", aboutKind, "name", aboutName, "err", err)
	}
}

// Put is the write of one event, for the transaction that it tells of.
func (e *Events) Put(ctx context.Context, aboutKind, aboutName, reason string, warning bool, message string) (Put, error) {
	now := e.store.now()
	name := eventName(now)
	put, err := PutRecord(EventPrefix+name, &operatorv1.Event{
		Metadata: &operatorv1.Metadata{Name: name, CreateTime: timestamppb.New(now)},
		Status: &operatorv1.EventStatus{
			Time: timestamppb.New(now), Warning: warning, Reason: reason,
			AboutKind: aboutKind, AboutName: aboutName, Message: cutText(message),
		},
	})
	if err != nil {
		return Put{}, err
	}
	put.Lease, err = e.store.SharedLease(ctx, eventLife)
	return put, err
}

// eventName sorts by time, and differs between controllers.
func eventName(now time.Time) string {
	var random [4]byte
	rand.Read(random[:])
	return fmt.Sprintf("%014x-%s", now.UnixMicro(), hex.EncodeToString(random[:]))
}

func cutText(s string) string {
	if len(s) <= maxEventText {
		return s
	}
	cut := 0
	for i := range s {
		if i > maxEventText {
			break
		}
		cut = i
	}
	return s[:cut]
}

// take spends one token of the bucket. What was dropped is logged when the
// bucket flows again.
func (e *Events) take() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.store.now()
	e.tokens = min(eventBurst, e.tokens+max(0, now.Sub(e.updated).Seconds())*eventPerSec)
	e.updated = now
	if e.tokens < 1 {
		e.dropped++
		return false
	}
	e.tokens--
	if e.dropped > 0 {
		e.log.Warn("too many events: some were logged but not kept", "dropped", e.dropped)
		e.dropped = 0
	}
	return true
}
