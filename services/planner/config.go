package planner

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// EventWriter tells operators what happened. It neither fails nor blocks for long.
type EventWriter interface {
	Event(ctx context.Context, aboutKind, aboutName, reason string, warning bool, message string)
}

// Config is what a Planner needs.
type Config struct {
	Store    *store.Store // with a Keyring
	Feed     *world.Feed  // of the same store; running
	Identity string       // name of this controller; the store shows it as the leader's

	Events EventWriter      // default: none
	Log    *slog.Logger     // default: discard
	Now    func() time.Time // default time.Now
	Random io.Reader        // of keys and SPIs; default crypto/rand
	Shard  uint8            // top bits of the SPIs made here; default 1
	Limits plan.Limits      // default: plan's
}

// leaderName is the name under which planners campaign.
const leaderName = "planner"

func (c Config) withDefaults() (Config, error) {
	if c.Store == nil || c.Store.Keys() == nil || c.Feed == nil || c.Identity == "" {
		return c, errors.New("planner: needs a store with a keyring, a feed and an identity")
	}
	if c.Events == nil {
		c.Events = silent{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Shard == 0 {
		c.Shard = 1
	}
	return c, nil
}

type silent struct{}

func (silent) Event(context.Context, string, string, string, bool, string) {}
