//go:build linux

package strongswan

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/sallyport/deploy/lab"
)

// step is one step of a scenario.
type step func(ctx context.Context, r *run) error

// vocabulary is what steps can say.
func vocabulary() map[string]step {
	return map[string]step{
		"we call":               weCall,
		"we call in vain":       weCallInVain,
		"they call":             theyCall,
		"they call in vain":     theyCallInVain,
		"one child is up":       func(ctx context.Context, r *run) error { _, err := r.counts(ctx, 1, 1); return err },
		"two children are up":   func(ctx context.Context, r *run) error { _, err := r.counts(ctx, 1, 2); return err },
		"nothing is up":         func(ctx context.Context, r *run) error { _, err := r.counts(ctx, 0, 0); return err },
		"traffic passes":        trafficPasses,
		"nothing passes":        nothingPasses,
		"we rekey the child":    rekeys(false, weDo("peer", "rekey", peerName)),
		"they rekey the child":  rekeys(false, theyDo("--rekey", "--child", childName)),
		"we rekey the IKE SA":   rekeys(true, weDo("peer", "rekey", peerName, "--ike")),
		"they rekey the IKE SA": rekeys(true, theyDo("--rekey", "--ike", peerName)),
		"both rekey the child at once": rekeys(false, atOnce(
			weDo("peer", "rekey", peerName), theyDo("--rekey", "--child", childName))),
		"both rekey the IKE SA at once": rekeys(true, atOnce(
			weDo("peer", "rekey", peerName, "--ike"), theyDo("--rekey", "--ike", peerName))),
		"the IKE SA is replaced":     rekeys(true, func(context.Context, *run) error { return nil }),
		"the child is rekeyed":       rekeys(false, func(context.Context, *run) error { return nil }),
		"we take it down":            weDo("peer", "down", peerName),
		"they take it down":          theyDo("--terminate", "--ike", peerName),
		"they delete the child":      theyDo("--terminate", "--child", childName),
		"we delete the child":        weDo("peer", "down", peerName, "--child", childName),
		"their daemon is killed":     func(_ context.Context, r *run) error { r.charon.Kill(); return nil },
		"their daemon starts":        func(ctx context.Context, r *run) error { return r.startCharon(ctx) },
		"we notice that it is gone":  weNotice,
		"the controller is killed":   func(ctx context.Context, r *run) error { return r.Lab.KillController(ctx) },
		"the controller starts":      func(ctx context.Context, r *run) error { return r.Lab.StartController(ctx) },
		"their address changes":      theirAddress("10.99.0.77/24", "10.99.0.12/24"),
		"their address changes back": theirAddress("10.99.0.12/24", "10.99.0.77/24"),
		"the agent is restarted":     restartAgent,
		"the IKE SA has no children": func(ctx context.Context, r *run) error { _, err := r.counts(ctx, 1, 0); return err },
	}
}

// parseStep reads a step: of the vocabulary, "why says TEXT", "they say TEXT", or "wait SECONDS".
func parseStep(text string) (step, error) {
	if s, ok := vocabulary()[text]; ok {
		return s, nil
	}
	if want, ok := strings.CutPrefix(text, "why says "); ok {
		return func(ctx context.Context, r *run) error {
			return until(ctx, patience, "sallyport peer why says so", func() error {
				out, err := r.Lab.CLI(ctx, "peer", "why", peerName)
				if err == nil && !strings.Contains(out, want) {
					err = errors.New(out)
				}
				return err
			})
		}, nil
	}
	if want, ok := strings.CutPrefix(text, "they say "); ok {
		return func(ctx context.Context, r *run) error {
			return until(ctx, patience, "charon says so", func() error {
				if !strings.Contains(r.charon.Log(), want) {
					return errors.New("it does not")
				}
				return nil
			})
		}, nil
	}
	if seconds, ok := strings.CutPrefix(text, "wait "); ok {
		n, err := strconv.Atoi(seconds)
		return func(ctx context.Context, _ *run) error {
			select {
			case <-time.After(time.Duration(n) * time.Second):
			case <-ctx.Done():
			}
			return ctx.Err()
		}, err
	}
	return nil, fmt.Errorf("nobody knows the step %q", text)
}

func weDo(args ...string) step {
	return func(ctx context.Context, r *run) error { _, err := r.Lab.CLI(ctx, args...); return err }
}

func theyDo(command string, args ...string) step {
	return func(ctx context.Context, r *run) error { _, err := r.charon.Swanctl(ctx, command, args...); return err }
}

func weCall(ctx context.Context, r *run) error {
	if err := weDo("peer", "up", peerName, "--wait", "--timeout", "20s")(ctx, r); err != nil {
		return err
	}
	_, err := r.counts(ctx, 1, 1)
	return err
}

func weCallInVain(ctx context.Context, r *run) error {
	out, err := r.Lab.CLI(ctx, "peer", "up", peerName, "--wait", "--timeout", "5s")
	if err == nil {
		return fmt.Errorf("it came up: %s", out)
	}
	return nil
}

func theyCall(ctx context.Context, r *run) error {
	if err := theyDo("--initiate", "--child", childName, "--timeout", "20")(ctx, r); err != nil {
		return err
	}
	_, err := r.counts(ctx, 1, 1)
	return err
}

func theyCallInVain(ctx context.Context, r *run) error {
	if out, err := r.charon.Swanctl(ctx, "--initiate", "--child", childName, "--timeout", "5"); err == nil {
		return fmt.Errorf("it came up: %s", out)
	}
	return nil
}

// rekeys does what makes a rekey, and waits until both sides have other SPIs, and as many SAs as before.
func rekeys(ofIKE bool, do step) step {
	return func(ctx context.Context, r *run) error {
		before, err := r.counts(ctx, 1, 1)
		if err != nil {
			return err
		}
		if err := do(ctx, r); err != nil {
			return err
		}
		return until(ctx, 2*patience, "both sides have new SPIs", func() error {
			after, err := r.same(ctx)
			switch {
			case err != nil:
				return err
			case len(after) != 1 || len(after[0].children) != 1:
				return fmt.Errorf("there are %v", after)
			case ofIKE && after[0].spis == before[0].spis, !ofIKE && after[0].children[0].in == before[0].children[0].in:
				return fmt.Errorf("they are still %v", after)
			}
			return nil
		})
	}
}

// theirAddress gives strongSwan's gateway another address in the place of one.
func theirAddress(add, remove string) step {
	return func(ctx context.Context, r *run) error {
		// The last address of a network takes its routes along.
		const script = "ip address del %s dev eth0; ip address add %s dev eth0; ip route replace default via 10.99.0.254"
		_, err := r.Lab.Exec(ctx, lab.HostName(2), "sh", "-e", "-c", fmt.Sprintf(script, remove, add))
		return err
	}
}

// atOnce takes two steps at the same time.
func atOnce(a, b step) step {
	return func(ctx context.Context, r *run) error {
		other := make(chan error, 1)
		go func() { other <- b(ctx, r) }()
		return errors.Join(a(ctx, r), <-other)
	}
}

// pings is how many echoes each end sends.
const pings = 5

// trafficPasses pings from both networks to the other one.
func trafficPasses(ctx context.Context, r *run) error {
	return until(ctx, patience, "every echo is answered", func() error { return r.ping(ctx, pings, 0) })
}

// nothingPasses looks that no echo is answered.
func nothingPasses(ctx context.Context, r *run) error { return r.ping(ctx, 2, 2) }

// ping sends echoes both ways, and wants so many lost each way.
func (r *run) ping(ctx context.Context, count, lost int) error {
	for from, to := range map[string]string{"site-1": theirMachine, "site-2": ourMachine} {
		p, err := r.Lab.Ping(ctx, from, netip.MustParseAddr(to), count)
		if err != nil {
			return err
		}
		if p.Lost() != lost {
			return fmt.Errorf("from %s: %v", from, p)
		}
	}
	return nil
}

// weNotice waits until dead peer detection has ended it.
func weNotice(ctx context.Context, r *run) error {
	return until(ctx, 3*time.Minute, "we have no IKE SA", func() error {
		if all, err := r.ours(ctx); err != nil || len(all) > 0 {
			return fmt.Errorf("there are %v: %w", all, err)
		}
		return nil
	})
}

func restartAgent(ctx context.Context, r *run) error {
	if err := r.Lab.StopAgent(ctx, 1); err != nil {
		return err
	}
	return r.Lab.StartAgent(1, "")
}
