package keying

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"time"

	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// EventWriter tells operators what happened. It neither fails nor blocks for long.
type EventWriter interface {
	Event(ctx context.Context, aboutKind, aboutName, reason string, warning bool, message string)
}

// World is the fleet as the process sees it; a *world.Feed.
type World interface {
	Read(func(world.State))
	WaitRevision(ctx context.Context, revision int64) error
}

// Config is what New needs. Store (with a keyring), View, World, Incarnation, Controller and Authenticator are
// required.
type Config struct {
	Store         *store.Store
	View          *store.View
	World         World
	Incarnation   uint64 // of the store
	Controller    string // name of this controller; the store shows it as the leader's
	Authenticator Authenticator

	Events EventWriter      // nil: nobody is told
	Log    *slog.Logger     // nil: discard
	Now    func() time.Time // nil: time.Now
	Random io.Reader        // nil: crypto/rand
	Shard  uint8            // top bits of the SPIs made here, from FirstShard; 0: FirstShard
}

// FirstShard is the first shard of IKE: the planner's are below.
const FirstShard = 0x80

// leaderName is the name under which controllers campaign.
const leaderName = "keying"

func (c Config) withDefaults() (Config, error) {
	if c.Store == nil || c.Store.Keys() == nil || c.View == nil || c.World == nil || c.Incarnation == 0 || c.Controller == "" || c.Authenticator == nil {
		return c, errors.New("keying: needs a store with a keyring, a view, a world, an incarnation, a name and an authenticator")
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
	if c.Shard < FirstShard {
		c.Shard = FirstShard
	}
	return c, nil
}

type silent struct{}

func (silent) Event(context.Context, string, string, string, bool, string) {}
