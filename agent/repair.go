package main

import (
	"context"
	"time"
)

// repairInterval is how long what somebody else has broken may stay so.
const repairInterval = 3 * time.Second

// keepInstalled puts back what others take away: a firewall that flushes every table, a person who sets the
// TUN down. repair does so, and says what that was. Failures are told once, and when they change.
func (a *agent) keepInstalled(ctx context.Context, repair func() ([]string, error)) error {
	ticker := time.NewTicker(repairInterval)
	defer ticker.Stop()
	told := ""
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		repaired, err := repair()
		for _, what := range repaired {
			a.log.Warn("something else on this host changed what the agent had installed; it is back", "what", what)
		}
		failure := ""
		if err != nil && ctx.Err() == nil {
			failure = err.Error()
		}
		if failure != "" && failure != told {
			a.log.Error("what the agent needs on this host cannot be installed", "err", err)
		}
		told = failure
	}
}
