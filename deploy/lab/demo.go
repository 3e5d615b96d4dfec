//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// demo is one run of the demonstration.
type demo struct {
	*report
	lab     *Lab
	overlay map[int][]netip.Addr
	capture *Capture
}

// demoHosts: host-1 and host-2 on the underlay, host-3 behind NAT.
const demoHosts = 3

// Demo builds a lab, shows a fleet at work in it, and takes it down. It prints a table for each step,
// and fails when a check does.
func Demo(ctx context.Context, name string, binaries Binaries, out io.Writer) (err error) {
	if err := checkTools(map[string]string{"tcpdump": "tcpdump", "iperf3": "iperf3"}); err != nil {
		return err
	}
	owner, err := Self()
	if err != nil {
		return err
	}
	l, err := Up(ctx, Config{Name: name, Hosts: demoHosts, NAT: []int{demoHosts}, Owner: owner, Binaries: binaries})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Down(context.WithoutCancel(ctx))) }()

	d := &demo{report: &report{out: out}, lab: l, overlay: map[int][]netip.Addr{}}
	for _, step := range []func(context.Context) error{
		d.start, d.mesh, d.ping, d.rekey, d.clear, d.controllerAway, d.agentKilled, d.underlay,
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("the demonstration cannot go on: %w", err)
		}
	}
	return d.verdict()
}

func (d *demo) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	d.heading("Start a controller with embedded etcd, and join three hosts, host-3 behind NAT")
	if err := d.lab.StartController(ctx); !d.check("controller answers", d.elapsed(), err) {
		return err
	}
	capture, err := d.lab.CaptureHeaders(ctx, "underlay")
	if err != nil {
		return err
	}
	d.capture = capture
	for i := 1; i <= demoHosts; i++ {
		if err := d.lab.JoinHost(ctx, i, "fleet=demo"); err != nil {
			return err
		}
	}
	for i := 1; i <= demoHosts; i++ {
		err := retry(ctx, 30*time.Second, func() (err error) {
			d.overlay[i], err = d.lab.Overlay(ctx, i)
			return err
		})
		if !d.check(HostName(i)+" joined by token", fmt.Sprint(d.overlay[i]), err) {
			return err
		}
	}
	return nil
}

func (d *demo) mesh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	d.heading("Apply a policy: every host may talk to every other")
	said, err := d.lab.Apply(ctx, "mesh", MeshPolicy)
	if !d.check("sallyport apply", oneLine(said), err) {
		return err
	}
	err = d.lab.AwaitUp(ctx)
	if !d.check("all pairs up", d.elapsed(), err) {
		return err
	}
	spis, err := d.lab.SPIs(ctx)
	if err == nil && len(spis) != demoHosts*(demoHosts-1) {
		err = fmt.Errorf("want %d associations, one per direction", demoHosts*(demoHosts-1))
	}
	d.check("security associations", fmt.Sprint(len(spis)), err)
	return nil
}

func (d *demo) ping(ctx context.Context) error {
	d.heading("Ping every pair, both ways, IPv4 and IPv6")
	for i := 1; i <= demoHosts; i++ {
		for j := 1; j <= demoHosts; j++ {
			if i == j {
				continue
			}
			for _, addr := range d.overlay[j] {
				p, err := d.lab.Ping(ctx, HostName(i), addr, 5)
				d.check(fmt.Sprintf("%s to %s %s", HostName(i), HostName(j), addr), p.String(), errors.Join(err, noneLost(p)))
			}
		}
	}
	return nil
}

func (d *demo) rekey(ctx context.Context) error {
	const megabytes, rekeys = 300, 5
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	d.heading(fmt.Sprintf("Move %d MB while every pair is rekeyed %d times", megabytes, rekeys))
	pinger, err := d.lab.StartPing(ctx, HostName(1), d.overlay[2][0])
	if err != nil {
		return err
	}
	before, err := d.lab.SPIs(ctx)
	if err != nil {
		return err
	}
	type moved struct {
		Transfer
		err error
	}
	done := make(chan moved, 1)
	go func() {
		t, err := d.lab.Transfer(ctx, HostName(1), HostName(2), d.overlay[2][0], megabytes<<20)
		done <- moved{t, err}
	}()
	var rekeyErr error
	for range rekeys {
		_, err := d.lab.CLI(ctx, "rekey", "--all", "--wait")
		rekeyErr = errors.Join(rekeyErr, err)
	}
	t := <-done
	d.check("iperf3, one TCP stream", fmt.Sprintf("%d MB, %.0f Mbit/s", t.Bytes>>20, t.Megabits()), t.err)
	after, err := d.lab.SPIs(ctx)
	d.check("rekeyed, every SPI is new", fmt.Sprintf("%d times", rekeys), errors.Join(rekeyErr, err, allNew(before, after)))
	p, err := pinger.Stop()
	d.check("pings meanwhile", p.String(), errors.Join(err, noneLost(p)))
	return nil
}

func (d *demo) clear(ctx context.Context) error {
	d.heading("Send a clear packet from the underlay towards a protected address")
	to := d.overlay[1][0]
	before, err := d.lab.GuardDrops(ctx, 1)
	if err != nil {
		return err
	}
	control, err := d.lab.Ping(ctx, nodeNet, HostAddress(1)[0], 3)
	d.check("control: host-1's underlay address answers", control.String(), errors.Join(err, noneLost(control)))
	p, err := d.lab.InjectClear(ctx, 1, to, 10)
	if err == nil && p.Received > 0 {
		err = fmt.Errorf("%d clear packets were answered", p.Received)
	}
	d.check(fmt.Sprintf("clear echo requests to %s", to), p.String(), err)
	after, err := d.lab.GuardDrops(ctx, 1)
	if err == nil && after < before+10 {
		err = fmt.Errorf("the guard counted %d drops before and %d after", before, after)
	}
	d.check("counted by host-1's guard", fmt.Sprintf("%d drops more", after-before), err)
	return nil
}

func (d *demo) controllerAway(ctx context.Context) error {
	const away = 10 * time.Second
	d.heading(fmt.Sprintf("Stop the controller for %v", away))
	pinger, err := d.lab.StartPing(ctx, HostName(3), d.overlay[1][0])
	if err != nil {
		return err
	}
	if err := d.lab.StopController(ctx); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(away):
	}
	p, err := pinger.Stop()
	d.check("pings host-3 to host-1 meanwhile", p.String(), errors.Join(err, noneLost(p)))
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = d.lab.StartController(ctx)
	if err == nil {
		err = d.lab.AwaitUp(ctx)
	}
	d.check("controller is back, all pairs up", d.elapsed(), err)
	return nil
}

func (d *demo) agentKilled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	d.heading("kill -9 the agent of host-2, and start it again")
	before, err := d.lab.SPIs(ctx)
	if err != nil {
		return err
	}
	if err := d.lab.KillAgent(ctx, 2); err != nil {
		return err
	}
	p, err := d.lab.Ping(ctx, HostName(2), d.overlay[1][0], 10)
	if err == nil && p.Received > 0 {
		err = errors.New("packets got through without an agent")
	}
	d.check("host-2 without its agent reaches nobody", p.String(), err)
	if err := d.lab.StartAgent(2, ""); err != nil {
		return err
	}
	err = retry(ctx, 30*time.Second, func() error {
		after, err := d.lab.SPIs(ctx)
		if err != nil {
			return err
		}
		delete(after, "host-1>host-3")
		delete(after, "host-3>host-1")
		return allNew(before, after)
	})
	if err == nil {
		err = d.lab.AwaitUp(ctx)
	}
	d.check("agent is back with new SPIs", d.elapsed(), err)
	all, err := d.lab.PingAll(ctx, 3)
	d.check("every pair pings again", all.String(), err)
	return nil
}

func (d *demo) underlay(ctx context.Context) error {
	d.heading("What crossed the underlay in all of this")
	if err := d.capture.Stop(); err != nil {
		return err
	}
	esp, err := d.capture.AssertNoClear(ctx)
	d.check("only ESP in UDP and the mTLS stream", fmt.Sprintf("%d ESP packets", esp), err)
	return nil
}

func noneLost(p Pings) error {
	if p.Sent == 0 {
		return errors.New("no ping was sent")
	}
	if p.Lost() != 0 {
		return fmt.Errorf("%d of %d pings lost", p.Lost(), p.Sent)
	}
	return nil
}

// allNew says whether every association of after has an SPI that before did not have.
func allNew(before, after map[string]uint32) error {
	if len(after) == 0 {
		return errors.New("no association is established")
	}
	for _, pair := range slices.Sorted(maps.Keys(after)) {
		if old, ok := before[pair]; ok && old == after[pair] {
			return fmt.Errorf("%s still has SPI %#08x", pair, old)
		}
	}
	return nil
}
