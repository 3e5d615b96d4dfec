package planner

import (
	"context"
	"time"
)

// sweepEvery is how often hourly traffic keys are looked through for those whose time is over.
const sweepEvery = 5 * time.Minute

// sweep destroys old traffic keys until ctx ends. They are files of this machine: every planner does it,
// leading or not.
func (p *Planner) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		n, err := p.config.Store.Keys().Sweep(p.config.Now())
		if err != nil {
			p.config.Log.Error("old traffic keys could not be destroyed", "err", err)
		} else if n > 0 {
			p.config.Log.Info("old traffic keys destroyed", "hours", n)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
