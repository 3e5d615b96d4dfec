//go:build linux

package bed

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"
)

// Plan says what a bed is like.
type Plan struct {
	Number   int // tells this program's beds apart
	MTU      int // of the wire
	Gateways bool
}

// Bed is two ends on one wire. Close it.
type Bed struct {
	Plan
	// Ends are where the implementations run.
	Ends [2]*Namespace
	// Stations are where the traffic begins and ends; without gateways they are the ends.
	Stations [2]*Namespace
	// Folder is for everything that is written; it goes with the bed.
	Folder string

	made      []*Namespace
	processes []*Process
}

// WireName is the link between the ends, in both.
const WireName = "wire"

// lanName is the link between a gateway and its station, in both.
const lanName = "lan"

// Open makes a bed.
func Open(ctx context.Context, plan Plan) (_ *Bed, err error) {
	b := &Bed{Plan: plan}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	if b.Folder, err = os.MkdirTemp("", "sallyport-bench-"); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	for end, letter := range []string{"a", "b"} {
		if b.Ends[end], err = b.namespace(ctx, letter); err != nil {
			return nil, err
		}
	}
	b.Stations = b.Ends
	if err := b.link(ctx, b.Ends[0], b.Ends[1], WireName, plan.MTU); err != nil {
		return nil, err
	}
	if plan.Gateways {
		err = b.gateways(ctx)
	} else {
		err = b.hosts(ctx)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (b *Bed) namespace(ctx context.Context, letter string) (*Namespace, error) {
	n, err := newNamespace(ctx, fmt.Sprintf(namespacePrefix+"%d-%d-%s", os.Getpid(), b.Number, letter))
	if err == nil {
		b.made = append(b.made, n)
	}
	return n, err
}

// link joins two namespaces by a veth pair.
func (b *Bed) link(ctx context.Context, one, other *Namespace, name string, mtu int) error {
	size := fmt.Sprint(mtu)
	return errors.Join(
		one.IP(ctx, "link", "add", name, "mtu", size, "type", "veth", "peer", "name", name, "mtu", size, "netns", other.Name),
		one.IP(ctx, "link", "set", name, "up"),
		other.IP(ctx, "link", "set", name, "up"))
}

// hosts gives both ends their addresses.
func (b *Bed) hosts(ctx context.Context) error {
	var errs []error
	for end, n := range b.Ends {
		for _, f := range families() {
			a := Inner(end, f)
			errs = append(errs, n.address(ctx, WireName, netip.PrefixFrom(Outer(end, f), f.outerBits())),
				n.address(ctx, "lo", netip.PrefixFrom(a, a.BitLen())))
		}
	}
	return errors.Join(errs...)
}

// gateways puts a station behind each end.
func (b *Bed) gateways(ctx context.Context) error {
	for end, letter := range []string{"c", "d"} {
		station, err := b.namespace(ctx, letter)
		if err != nil {
			return err
		}
		b.Stations[end] = station
		g := b.Ends[end]
		errs := []error{b.link(ctx, g, station, lanName, b.MTU), g.sysctl(ctx, "ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1")}
		for _, f := range families() {
			bits := InnerNet(end, f).Bits()
			errs = append(errs, g.address(ctx, WireName, netip.PrefixFrom(Outer(end, f), f.outerBits())),
				g.address(ctx, lanName, netip.PrefixFrom(gateway(end, f), bits)),
				station.address(ctx, lanName, netip.PrefixFrom(Inner(end, f), bits)),
				station.IP(ctx, f.flag(), "route", "add", "default", "via", gateway(end, f).String()))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

func (n *Namespace) address(ctx context.Context, link string, p netip.Prefix) error {
	arguments := []string{"address", "add", p.String(), "dev", link}
	if p.Addr().Is6() {
		arguments = append(arguments, "nodad")
	}
	return n.IP(ctx, arguments...)
}

// Route leads an end's traffic for the other end's inner network, by `dev NAME` or `via ADDRESS`.
func (b *Bed) Route(ctx context.Context, end int, f Family, how ...string) error {
	arguments := append([]string{f.flag(), "route", "replace", InnerNet(1-end, f).String()}, how...)
	if !b.Gateways {
		arguments = append(arguments, "src", Inner(end, f).String())
	}
	return b.Ends[end].IP(ctx, arguments...)
}

// FolderOf is a folder of an end's own.
func (b *Bed) FolderOf(end int) (string, error) {
	folder := filepath.Join(b.Folder, [...]string{"a", "b"}[end])
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	return folder, nil
}

// closeTimeout bounds the end of everything.
const closeTimeout = 30 * time.Second

// Close ends the bed's processes, the youngest first, and removes its namespaces and its folder, also when the
// measurement was broken off.
func (b *Bed) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	for i := len(b.processes) - 1; i >= 0; i-- {
		errs = append(errs, b.processes[i].stop())
	}
	for _, n := range b.made {
		errs = append(errs, n.remove(ctx))
	}
	if b.Folder != "" {
		errs = append(errs, os.RemoveAll(b.Folder))
	}
	b.processes, b.made, b.Folder = nil, nil, ""
	return errors.Join(errs...)
}
