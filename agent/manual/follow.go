package manual

import (
	"context"
	"errors"
	"os"
	"time"
)

// tryAgain is how long after a failure to apply a file it is read and applied again.
const tryAgain = 10 * time.Second

// Follow applies the file at path again whenever reload says so (SIGHUP), until ctx ends. A file that is wrong
// changes nothing. It is the one goroutine that calls the applier meanwhile.
func (a *Applier) Follow(ctx context.Context, path string, reload <-chan os.Signal) error {
	var again <-chan time.Time
	for {
		timer := time.NewTimer(a.wait())
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-reload:
			again = a.reload(ctx, path)
		case <-again:
			again = a.reload(ctx, path)
		case now := <-timer.C:
			if err := a.Sweep(now); err != nil {
				a.config.Log.Error("an old association cannot be removed", "err", err)
			}
		}
		timer.Stop()
	}
}

// wait is the time until the next old SA is to go.
func (a *Applier) wait() time.Duration {
	if until, ok := a.Drained(); ok {
		return time.Until(until)
	}
	return time.Hour // whatever; nothing waits
}

// reload reads and applies the file. It returns when to do so again, never after success.
func (a *Applier) reload(ctx context.Context, path string) <-chan time.Time {
	f, err := Load(path)
	if err != nil {
		a.config.Log.Error("the file is not applied, everything stays as it is", "file", path, "err", err)
		return nil
	}
	n := len(f.Policies)
	err = a.Apply(ctx, f)
	switch {
	case errors.Is(err, ErrExhausted):
		a.config.Log.Error("the file is not applied, everything stays as it is", "file", path, "err", err)
		return nil
	case err != nil:
		a.config.Log.Error("the file is not wholly applied; trying again", "file", path, "in", tryAgain, "err", err)
		return time.After(tryAgain)
	}
	a.config.Log.Info("file applied", "file", path, "policies", n)
	return nil
}
