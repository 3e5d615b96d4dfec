package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

const (
	lookupTimeout = 10 * time.Second
	lookupAgain   = 5 * time.Minute
	lookupRetry   = 15 * time.Second
	// maxEndpoints bounds what one name may stand for.
	maxEndpoints = 64
)

// followControllers keeps the exceptions for the controllers' addresses current. While a name cannot be
// looked up, its last addresses stay.
func (a *agent) followControllers(ctx context.Context) error {
	book := addressBook{last: a.lastUplinks, lookup: lookup}
	for {
		wait := lookupAgain
		endpoints, err := book.look(ctx, a.options.controllers)
		if ctx.Err() == nil {
			err = errors.Join(err, a.installer.SetUplinks(endpoints))
		}
		if err != nil && ctx.Err() == nil {
			a.log.Warn("the address of a controller is not known; the last one stays", "err", err)
			wait = lookupRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// addressBook knows where the controllers are.
type addressBook struct {
	last   []netip.AddrPort // of the agent's last life
	known  map[string][]netip.AddrPort
	lookup func(ctx context.Context, controller string) ([]netip.AddrPort, error)
}

// look looks every name up. What it returns, sorted, is good also with an error: a name that cannot be
// looked up keeps its addresses, and those of the last life stay while a name never could be.
func (b *addressBook) look(ctx context.Context, controllers []string) ([]netip.AddrPort, error) {
	if b.known == nil {
		b.known = make(map[string][]netip.AddrPort)
	}
	var all []netip.AddrPort
	var errs []error
	for _, c := range controllers {
		endpoints, err := b.lookup(ctx, c)
		if err == nil {
			b.known[c] = endpoints[:min(len(endpoints), maxEndpoints)]
		} else {
			errs = append(errs, fmt.Errorf("controller %s: %w", c, err))
		}
		if b.known[c] == nil {
			all = append(all, b.last...)
		}
		all = append(all, b.known[c]...)
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	return slices.Compact(all), errors.Join(errs...)
}

// lookup resolves host:port.
func lookup(ctx context.Context, controller string) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	host, service, err := net.SplitHostPort(controller)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, err
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	var out []netip.AddrPort
	for _, address := range addresses {
		out = append(out, netip.AddrPortFrom(address.Unmap().WithZone(""), uint16(port)))
	}
	return out, err
}
