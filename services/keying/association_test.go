package keying

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/store"
)

// TestStoreThatIsAwayEndsNothing: while etcd is away IKE SAs wait.
func TestStoreThatIsAwayEndsNothing(t *testing.T) {
	r := &reign{ctx: t.Context(), config: Config{Log: slog.New(slog.DiscardHandler), Now: time.Now}}
	a := &association{r: r}
	for range 3 * maxFailures {
		a.fail(errors.Join(errors.New("the test"), store.ErrUnavailable))
	}
	if a.deposed || a.retryAt.IsZero() {
		t.Error("it was given up")
	}
}
