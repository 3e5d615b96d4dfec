//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// netnsDir is where iproute2 keeps named network namespaces.
const netnsDir = "/run/netns"

// namespace is the name of a node's network namespace.
func (c Config) namespace(node string) string { return "sp-" + c.Name + "-" + node }

// run executes a command and puts what it said into the error.
func run(ctx context.Context, name string, args ...string) error {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("lab: %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return nil
}

// builder collects the first error of a series of commands.
type builder struct {
	ctx context.Context
	cfg Config
	err error
}

func (b *builder) run(name string, args ...string) {
	if b.err == nil {
		b.err = run(b.ctx, name, args...)
	}
}

// ip runs iproute2 inside a node.
func (b *builder) ip(node string, args ...string) {
	b.run("ip", append([]string{"-n", b.cfg.namespace(node)}, args...)...)
}

// sysctl sets kernel parameters of a node, each as path=value below /proc/sys/net.
func (b *builder) sysctl(node string, settings ...string) {
	var script strings.Builder
	for _, s := range settings {
		path, value, _ := strings.Cut(s, "=")
		fmt.Fprintf(&script, "echo %s > /proc/sys/net/%s\n", value, path)
	}
	b.run("ip", "netns", "exec", b.cfg.namespace(node), "sh", "-e", "-c", script.String())
}

// link makes a veth pair: device dev in node, and a port named port in other.
func (b *builder) link(node, dev, other, port string) {
	b.run("ip", "link", "add", dev, "netns", b.cfg.namespace(node), "type", "veth",
		"peer", "name", port, "netns", b.cfg.namespace(other))
	b.ip(node, "link", "set", dev, "up")
	b.ip(other, "link", "set", port, "up")
}

func (b *builder) address(node, dev string, a addresses) {
	for _, p := range a.list() {
		args := []string{"addr", "add", p.String(), "dev", dev}
		if p.Addr().Is6() {
			args = append(args, "nodad")
		}
		b.ip(node, args...)
	}
}

// defaultRoute sends what nobody claims to the gateway.
func (b *builder) defaultRoute(node string, gateway addresses) {
	for _, p := range gateway.list() {
		b.ip(node, family(p.Addr()), "route", "add", "default", "via", p.Addr().String())
	}
}

func family(a netip.Addr) string {
	if a.Is6() {
		return "-6"
	}
	return "-4"
}

// router makes a node forward.
func (b *builder) router(node string) {
	b.sysctl(node, "ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1")
}

// attach connects a node to the switch.
func (b *builder) attach(node string, station int) {
	port := "p-" + node
	b.link(node, "eth0", nodeNet, port)
	b.ip(nodeNet, "link", "set", port, "master", "br0")
	b.address(node, "eth0", underlay(station))
	b.defaultRoute(node, underlay(stationRouter))
}

// masquerade puts a NAT into node, for what leaves by eth0. UDP gets ports of a range, so that port
// 4500 inside is never port 4500 outside. What has no mapping is dropped without a word, as home
// routers do.
func (b *builder) masquerade(node string) {
	b.run("ip", "netns", "exec", b.cfg.namespace(node), "nft",
		"add table inet nat; "+
			"add chain inet nat post { type nat hook postrouting priority srcnat; }; "+
			masqueradeRules("20000-29999")+"; "+
			"add chain inet nat in { type filter hook input priority filter; }; "+
			`add rule inet nat in iifname "eth0" meta l4proto { tcp, udp } drop`)
}

func masqueradeRules(udpPorts string) string {
	return `add rule inet nat post oifname "eth0" meta l4proto udp masquerade to :` + udpPorts +
		`; add rule inet nat post oifname "eth0" masquerade`
}

// construct makes every namespace and link of the lab.
func construct(ctx context.Context, cfg Config) error {
	b := &builder{ctx: ctx, cfg: cfg}
	for _, node := range cfg.nodes() {
		b.run("ip", "netns", "add", cfg.namespace(node))
		b.ip(node, "link", "set", "lo", "up")
		b.sysctl(node, "ipv4/conf/all/rp_filter=1", "ipv4/conf/default/rp_filter=1", "ipv6/conf/default/accept_dad=0")
	}
	b.ip(nodeNet, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
	b.ip(nodeNet, "link", "set", "br0", "up")
	b.address(nodeNet, "br0", underlay(stationRouter))
	b.attach(nodeCtl, stationCtl)
	for i := 1; i <= cfg.Hosts; i++ {
		b.host(i)
	}
	return b.err
}

func (b *builder) host(i int) {
	name := HostName(i)
	if slices.Contains(b.cfg.NAT, i) {
		nat := natName(i)
		b.attach(nat, stationHost(i))
		b.link(name, "eth0", nat, "inside")
		b.address(nat, "inside", behindNAT(i, 1))
		b.address(name, "eth0", behindNAT(i, 2))
		b.defaultRoute(name, behindNAT(i, 1))
		b.router(nat)
		b.masquerade(nat)
	} else {
		b.attach(name, stationHost(i))
	}
	if slices.Contains(b.cfg.Sites, i) {
		b.link(siteName(i), "eth0", name, "lan")
		b.address(name, "lan", site(i, 1))
		b.address(siteName(i), "eth0", site(i, 2))
		b.defaultRoute(siteName(i), site(i, 1))
		b.router(name)
	}
}

// demolish removes every namespace of the lab that exists, with all that runs in them. Their links go
// with them.
func demolish(ctx context.Context, cfg Config) error {
	names, err := filepath.Glob(filepath.Join(netnsDir, cfg.namespace("*")))
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	known := map[string]bool{}
	for _, node := range cfg.nodes() {
		known[cfg.namespace(node)] = true
	}
	var errs []error
	for _, path := range names {
		// A lab named "a" must not take the namespaces of a lab named "a-b".
		if name := filepath.Base(path); known[name] {
			errs = append(errs, evict(ctx, name), run(ctx, "ip", "netns", "del", name))
		}
	}
	return errors.Join(errs...)
}

// makeNetnsDir makes iproute2's directory, so that two first labs do not race for it.
func makeNetnsDir() error {
	if err := os.MkdirAll(netnsDir, 0o755); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}
