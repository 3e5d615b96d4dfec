package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"sallyport.dev/sallyport/agent/netio"
)

// waiting is how many goroutines wait for packets in system calls: of the TUN, of UDP, ESP, AH and IKE's port in two
// address families, and of what ICMPv6 says about AH.
const waiting = 1 + 4*2 + 1

// makeRoom lets those that wait run besides those that use the processors: Go's scheduler counts a goroutine in a system
// call as running until it has looked. An operator's GOMAXPROCS rules.
func makeRoom() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + waiting)
	}
}

// speedInterval is how long it may take until a change of speed is told.
const speedInterval = 10 * time.Second

// speed knows what keeps the kernel from moving packets many at a time: the datapath does without, and is slower.
type speed struct {
	tun    *netio.TUN
	v4, v6 *netio.UDPSocket // v6 is nil without IPv6
}

// watchSpeed tells what is slow, at first and whenever that changes.
func (a *agent) watchSpeed(ctx context.Context, s speed) error {
	ticker := time.NewTicker(speedInterval)
	defer ticker.Stop()
	for told := ""; ; {
		if slow := text(s.slow()); slow != told {
			if slow != "" {
				a.log.Warn("packets pass one by one, which is slow", "why", slow)
			} else {
				a.log.Info("packets pass many at a time again")
			}
			told = slow
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// slow says what passes one by one, and why; nil if nothing does.
func (s speed) slow() error {
	var errs []error
	if f := s.tun.Features(); !f.TCP || !f.UDP {
		errs = append(errs, fmt.Errorf("TUN %s: the kernel has no segmentation offload for TCP (%v) or UDP (%v) there; Linux 6.2 has both", s.tun.Name(), !f.TCP, !f.UDP))
	}
	for _, socket := range []*netio.UDPSocket{s.v4, s.v6} {
		if socket == nil {
			continue
		}
		o := socket.Offload()
		if o.Send != nil {
			errs = append(errs, fmt.Errorf("sending: %w", o.Send))
		}
		if o.Receive != nil {
			errs = append(errs, fmt.Errorf("receiving: %w", o.Receive))
		}
	}
	return errors.Join(errs...)
}
