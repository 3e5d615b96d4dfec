package netio_test

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/netio/nstest"
)

// guardLab is one guarded gateway between a subnet of its own and a hostile underlay:
//
//	  lan ns ─────────────── gateway ns (guard) ──────────────── evil ns
//	192.168.5.2 lan0   eth1 192.168.5.1   eth0 172.16.0.1   eth0 172.16.0.2, default route
//	 fd05::2                fd05::1           fd16::1           fd16::2
//	                   sally0 10.99.0.1, fd99::1         and any address it likes:
//	                                                     192.168.6.5 fd06::5 10.99.0.2 fd99::2
type guardLab struct {
	t                  *testing.T
	lan, gateway, evil *nstest.Namespace
	network            *netio.Network
}

func newGuardLab(t *testing.T) *guardLab {
	d := desired
	d.Subnets = append(prefixes("fd05::/64"), d.Subnets...)
	d.Remote = append(prefixes("fd06::/64"), d.Remote...)
	gateway, network, _ := applied(t, d)
	l := &guardLab{t: t, gateway: gateway, network: network, lan: nstest.New(t), evil: nstest.New(t)}
	nstest.Connect(t, gateway, "eth0", prefixes("172.16.0.1/24", "fd16::1/64"),
		l.evil, "eth0", prefixes("172.16.0.2/24", "fd16::2/64", "192.168.6.5/32", "fd06::5/128", "10.99.0.2/32", "fd99::2/128"))
	nstest.Connect(t, gateway, "eth1", prefixes("192.168.5.1/24", "fd05::1/64"),
		l.lan, "lan0", prefixes("192.168.5.2/24", "fd05::2/64"))
	for _, f := range [][2]string{{"172.16.0.2", "172.16.0.1"}, {"fd16::2", "fd16::1"}} {
		gateway.Run("ip", "route", "add", "default", "via", f[0])
		l.evil.Run("ip", "route", "add", "default", "via", f[1])
	}
	for _, gw := range []string{"192.168.5.1", "fd05::1"} {
		l.lan.Run("ip", "route", "add", "default", "via", gw)
	}
	gateway.Run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	// Spoofed sources must die in the guard, not in the reverse path check.
	gateway.Run("sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.eth0.rp_filter=0")
	return l
}

// in is the same lab for a subtest.
func (l guardLab) in(t *testing.T) *guardLab {
	l.t = t
	return &l
}

// send sends one UDP datagram from inside ns.
func (l *guardLab) send(ns *nstest.Namespace, from, to string) error {
	var err error
	ns.Do(func() {
		var c net.Conn
		d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from))}
		if c, err = d.Dial("udp", to); err != nil {
			return
		}
		defer c.Close()
		_, err = c.Write([]byte("clear"))
	})
	return err
}

func (l *guardLab) counters() map[string]uint64 {
	l.t.Helper()
	var c map[string]uint64
	var err error
	l.gateway.Do(func() { c, err = netio.GuardCounters(l.t.Context(), netio.Config{}) })
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// dropped asserts that what do sends is dropped and counted under counter.
func (l *guardLab) dropped(counter string, do func() error) {
	l.t.Helper()
	before := l.counters()[counter]
	if err := do(); err != nil {
		l.t.Logf("sender saw %v", err) // a drop on output is an error to the sender
	}
	deadline := time.Now().Add(5 * time.Second)
	for l.counters()[counter] == before {
		if time.Now().After(deadline) {
			l.t.Fatalf("nothing counted as %s: %v", counter, l.counters())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// delivered asserts that what do sends arrives at addr inside ns.
func (l *guardLab) delivered(ns *nstest.Namespace, addr string, do func() error) {
	l.t.Helper()
	var c *net.UDPConn
	var err error
	ns.Do(func() { c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr))) })
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	if err := do(); err != nil {
		l.t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, _, err := c.ReadFromUDP(make([]byte, 64)); err != nil {
		l.t.Fatalf("not delivered to %s: %v; %v", addr, err, l.counters())
	}
}

func TestGuardDropsClearPackets(t *testing.T) {
	l := newGuardLab(t)
	for _, c := range []struct{ name, from, to, counter string }{
		{"remote subnet to our subnet, forwarded", "192.168.6.5:1", "192.168.5.2:9", netio.CounterClearIn},
		{"remote subnet to our subnet, forwarded v6", "[fd06::5]:1", "[fd05::2]:9", netio.CounterClearIn},
		{"remote subnet to our own address in our subnet", "192.168.6.5:1", "192.168.5.1:9", netio.CounterClearIn},
		{"to our overlay address", "172.16.0.2:1", "10.99.0.1:9", netio.CounterSpoofed},
		{"to our overlay address v6", "[fd16::2]:1", "[fd99::1]:9", netio.CounterSpoofed},
		{"to our overlay address, port 4500", "172.16.0.2:1", "10.99.0.1:4500", netio.CounterSpoofed},
		{"from the pool", "10.99.0.2:1", "172.16.0.1:9", netio.CounterSpoofed},
		{"from the pool v6", "[fd99::2]:1", "[fd16::1]:9", netio.CounterSpoofed},
		{"from the pool to our subnet", "10.99.0.2:1", "192.168.5.2:9", netio.CounterSpoofed},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := l.in(t)
			l.dropped(c.counter, func() error { return l.send(l.evil, c.from, c.to) })
		})
	}
}

// TestGuardHoldsWithoutAgent: the TUN and its routes are gone, as after kill -9.
func TestGuardHoldsWithoutAgent(t *testing.T) {
	l := newGuardLab(t)
	l.gateway.Run("ip", "link", "del", "sally0")
	l.gateway.Run("ip", "route", "flush", "table", "5350") // the unreachable pool would mask the guard
	l.gateway.Run("ip", "-6", "route", "flush", "table", "5350")
	for _, c := range []struct {
		name     string
		ns       *nstest.Namespace
		from, to string
	}{
		{"ourselves to a remote subnet", l.gateway, "172.16.0.1:1", "192.168.6.5:9"},
		{"ourselves to a remote subnet v6", l.gateway, "[fd16::1]:1", "[fd06::5]:9"},
		{"ourselves to an overlay address", l.gateway, "172.16.0.1:1", "10.99.0.2:9"},
		{"ourselves to an address in the pool that nobody has", l.gateway, "172.16.0.1:1", "10.99.77.1:9"},
		{"our subnet to a remote subnet", l.lan, "192.168.5.2:1", "192.168.6.5:9"},
		{"our subnet to a remote subnet v6", l.lan, "[fd05::2]:1", "[fd06::5]:9"},
		{"unmarked, port 4500 to a remote subnet", l.gateway, "172.16.0.1:4500", "192.168.6.5:4500"},
		{"our subnet, port 4500 to a remote subnet", l.lan, "192.168.5.2:4500", "192.168.6.5:4500"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := l.in(t)
			l.dropped(netio.CounterClearOut, func() error { return l.send(c.ns, c.from, c.to) })
		})
	}
}

func TestGuardPassesTheRest(t *testing.T) {
	l := newGuardLab(t)
	for _, c := range []struct {
		name     string
		from, to *nstest.Namespace
		src, dst string
	}{
		{"outer packets", l.evil, l.gateway, "172.16.0.2:4500", "172.16.0.1:4500"},
		{"outer packets v6", l.evil, l.gateway, "[fd16::2]:4500", "[fd16::1]:4500"},
		{"outer packets from inside a remote subnet", l.evil, l.gateway, "192.168.6.5:4500", "192.168.5.1:4500"},
		{"unprotected, in", l.evil, l.gateway, "172.16.0.2:1", "172.16.0.1:9"},
		{"unprotected, out", l.gateway, l.evil, "172.16.0.1:1", "172.16.0.2:9"},
		{"unprotected, through", l.lan, l.evil, "192.168.5.2:1", "172.16.0.2:9"},
		{"within our subnet", l.lan, l.gateway, "192.168.5.2:1", "192.168.5.1:9"},
		{"ourselves to ourselves", l.gateway, l.gateway, "10.99.0.1:1", "10.99.0.1:9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := l.in(t)
			l.delivered(c.to, c.dst, func() error { return l.send(c.from, c.src, c.dst) })
		})
	}
	if got := fmt.Sprint(l.counters()); got != "map[clear_in:0 clear_out:0 discarded:0 spoofed:0]" {
		t.Errorf("counted %v", got)
	}
}

// TestOuterPacketsUnderOverlap: a remote subnet contains the link itself, and the reverse path check
// is strict. Our marked packets must still pass in both directions, and ARP must be answered.
func TestOuterPacketsUnderOverlap(t *testing.T) {
	l := newGuardLab(t)
	l.gateway.Run("sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=1")
	d := desired
	d.Remote = append(prefixes("172.16.0.0/16"), d.Remote...)
	var v4 *netio.UDPSocket
	var err error
	l.gateway.Do(func() {
		if err = l.network.Apply(t.Context(), d); err != nil {
			return
		}
		var v6 *netio.UDPSocket
		if v4, v6, err = netio.ListenUDP(netio.UDPOptions{Port: 4500, Mark: netio.DefaultMark}); err == nil {
			t.Cleanup(func() { v4.Close(); v6.Close() })
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	l.gateway.Run("ip", "neigh", "flush", "dev", "eth0")
	l.evil.Run("ip", "neigh", "flush", "dev", "eth0")
	var peer *net.UDPConn
	l.evil.Do(func() {
		peer, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("172.16.0.2:4500")))
	})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	peer.SetDeadline(time.Now().Add(10 * time.Second))
	// The evil end speaks first: its ARP request must be answered.
	if _, err := peer.WriteToUDPAddrPort([]byte("hello"), netip.MustParseAddrPort("172.16.0.1:4500")); err != nil {
		t.Fatal(err)
	}
	timeout := time.AfterFunc(10*time.Second, func() { v4.Close() })
	defer timeout.Stop()
	if n, err := v4.Recv(make([]datagram.Packet, 1)); n != 1 || err != nil {
		t.Fatalf("nothing arrived under strict rp_filter: %v", err)
	}
	exchange(t, v4, peer)
	l.dropped(netio.CounterClearOut, func() error {
		l.gateway.Run("ip", "link", "del", "sally0")
		return l.send(l.gateway, "172.16.0.1:1", "172.16.0.2:9")
	})
}

// TestGuardWhenAllIsRemote: a peer that protects everything, as a gateway to the Internet. What the
// host lives on must pass, and what stays in our own subnet.
func TestGuardWhenAllIsRemote(t *testing.T) {
	l := newGuardLab(t)
	d := desired
	d.Subnets = prefixes("192.168.5.0/24", "fd05::/64")
	d.Remote = prefixes("0.0.0.0/0", "::/0", "192.168.5.128/25")
	d.Uplink = []netip.AddrPort{netip.MustParseAddrPort("192.168.6.5:7443")}
	l.gateway.Run("sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=1")
	var marked *netio.UDPSocket
	var uplink net.Listener
	var err error
	l.gateway.Do(func() {
		if err = l.network.Apply(t.Context(), d); err == nil {
			var v4 *netio.UDPSocket
			v4, marked, err = netio.ListenUDP(netio.UDPOptions{Port: 4500, Mark: netio.DefaultMark})
			t.Cleanup(func() { v4.Close(); marked.Close() })
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []*nstest.Namespace{l.gateway, l.evil, l.lan} {
		ns.Run("ip", "neigh", "flush", "all")
	}
	t.Run("neighbour discovery", func(t *testing.T) {
		l.in(t).delivered(l.evil, "[fd16::2]:4500", func() error {
			_, err := marked.Send([]datagram.Packet{{Data: []byte("outer"), Remote: netip.MustParseAddrPort("[fd16::2]:4500")}})
			return err
		})
	})
	t.Run("neighbour discovery of our subnet", func(t *testing.T) {
		l.lan.Run("ping", "-6", "-c", "1", "-W", "5", "fd05::1")
		l.gateway.Run("ping", "-6", "-c", "1", "-W", "5", "fd05::2")
	})
	t.Run("within our subnet", func(t *testing.T) {
		l.lan.Run("ping", "-c", "1", "-W", "5", "192.168.5.1")
		l.gateway.Run("ping", "-c", "1", "-W", "5", "192.168.5.2")
	})
	t.Run("DHCP out", func(t *testing.T) {
		l := l.in(t)
		l.delivered(l.evil, "172.16.0.2:67", func() error { return l.sendOn(l.gateway, "eth0", "172.16.0.1:68", "172.16.0.2:67") })
	})
	t.Run("DHCP in", func(t *testing.T) {
		l := l.in(t)
		l.gateway.Run("sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.eth0.rp_filter=0")
		defer l.gateway.Run("sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=1")
		l.delivered(l.gateway, "192.168.5.1:68", func() error { return l.send(l.evil, "172.16.0.2:67", "192.168.5.1:68") })
	})
	t.Run("ESP", func(t *testing.T) { l.in(t).rawDelivered("ip4:50", "192.168.6.5", "192.168.5.1") })
	t.Run("AH", func(t *testing.T) { l.in(t).rawDelivered("ip4:51", "192.168.6.5", "192.168.5.1") })
	t.Run("uplink", func(t *testing.T) {
		l.evil.Do(func() { uplink, err = net.Listen("tcp", "192.168.6.5:7443") })
		if err != nil {
			t.Fatal(err)
		}
		defer uplink.Close()
		l.gateway.Do(func() {
			dialer := net.Dialer{Timeout: 5 * time.Second, Control: netio.MarkControl(netio.DefaultMark),
				LocalAddr: &net.TCPAddr{IP: net.IPv4(192, 168, 5, 1)}}
			var c net.Conn
			if c, err = dialer.Dial("tcp", "192.168.6.5:7443"); err == nil {
				c.Close()
			}
		})
		if err != nil {
			t.Errorf("the uplink is cut off: %v; %v", err, l.counters())
		}
	})
	if got := fmt.Sprint(l.counters()); got != "map[clear_in:0 clear_out:0 discarded:0 spoofed:0]" {
		t.Errorf("counted %v", got)
	}
	t.Run("anything else out", func(t *testing.T) {
		l := l.in(t)
		l.dropped(netio.CounterClearOut, func() error { return l.sendOn(l.gateway, "eth0", "172.16.0.1:1", "172.16.0.2:9") })
	})
	t.Run("a remote prefix within our subnet", func(t *testing.T) {
		l := l.in(t)
		l.dropped(netio.CounterClearOut, func() error { return l.sendOn(l.gateway, "eth1", "192.168.5.1:1", "192.168.5.200:9") })
		l.gateway.Run("sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.eth1.rp_filter=0")
		l.lan.Run("ip", "addr", "add", "192.168.5.200/32", "dev", "lan0")
		l.dropped(netio.CounterClearIn, func() error { return l.send(l.lan, "192.168.5.200:1", "192.168.5.1:9") })
	})
}

// sendOn is send by a given device, whatever the routes say: as a DHCP client does.
func (l *guardLab) sendOn(ns *nstest.Namespace, device, from, to string) error {
	var err error
	ns.Do(func() {
		d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)),
			Control: func(_, _ string, c syscall.RawConn) error {
				var e error
				if err := c.Control(func(fd uintptr) { e = unix.BindToDevice(int(fd), device) }); err != nil {
					return err
				}
				return e
			}}
		var c net.Conn
		if c, err = d.Dial("udp", to); err == nil {
			defer c.Close()
			_, err = c.Write([]byte("clear"))
		}
	})
	return err
}

// rawDelivered sends an IP packet from the evil end to the gateway and waits for it.
func (l *guardLab) rawDelivered(network, from, to string) {
	l.t.Helper()
	var in *net.IPConn
	var err error
	l.gateway.Do(func() { in, err = net.ListenIP(network, &net.IPAddr{IP: net.ParseIP(to)}) })
	if err != nil {
		l.t.Fatal(err)
	}
	defer in.Close()
	l.evil.Do(func() {
		var out *net.IPConn
		if out, err = net.DialIP(network, &net.IPAddr{IP: net.ParseIP(from)}, &net.IPAddr{IP: net.ParseIP(to)}); err == nil {
			defer out.Close()
			_, err = out.Write([]byte("an outer packet"))
		}
	})
	if err != nil {
		l.t.Fatal(err)
	}
	in.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := in.Read(make([]byte, 64)); err != nil {
		l.t.Errorf("not delivered: %v; %v", err, l.counters())
	}
}

// sendMarked is send from a socket that carries our mark, as any user's ping -m can on many systems.
func (l *guardLab) sendMarked(ns *nstest.Namespace, from, to string) error {
	var err error
	ns.Do(func() {
		d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from)), Control: netio.MarkControl(netio.DefaultMark)}
		var c net.Conn
		if c, err = d.Dial("udp", to); err == nil {
			defer c.Close()
			_, err = c.Write([]byte("clear"))
		}
	})
	return err
}

// TestTheMarkIsNoPassport: with our mark a packet goes round the TUN; only outer packets and the uplink may
// then leave.
func TestTheMarkIsNoPassport(t *testing.T) {
	l := newGuardLab(t)
	for _, c := range []struct{ name, from, to string }{
		{"to a remote subnet", "172.16.0.1:1", "192.168.6.5:9"},
		{"to a remote subnet v6", "[fd16::1]:1", "[fd06::5]:9"},
		{"to an overlay address", "172.16.0.1:1", "10.99.0.2:4500"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := l.in(t)
			l.dropped(netio.CounterClearOut, func() error { return l.sendMarked(l.gateway, c.from, c.to) })
		})
	}
	t.Run("ping -m", func(t *testing.T) {
		l := l.in(t)
		l.dropped(netio.CounterClearOut, func() error {
			_, err := l.gateway.Output("ping", "-m", fmt.Sprint(netio.DefaultMark), "-c", "1", "-W", "1", "192.168.6.5")
			return err
		})
	})
	t.Run("outer packets", func(t *testing.T) {
		l := l.in(t)
		l.delivered(l.evil, "192.168.6.5:4500", func() error { return l.sendMarked(l.gateway, "172.16.0.1:4500", "192.168.6.5:4500") })
	})
}

// TestMasqueradedPacketsAreOurs: the agent is dead, and the host masquerades for its containers. What they
// send to a remote subnet went through the tunnel as the host's own while the agent lived.
func TestMasqueradedPacketsAreOurs(t *testing.T) {
	l := newGuardLab(t)
	container := nstest.New(t)
	nstest.Connect(t, l.gateway, "br0", prefixes("172.17.0.1/24"), container, "eth0", prefixes("172.17.0.2/24"))
	container.Run("ip", "route", "add", "default", "via", "172.17.0.1")
	l.gateway.Run("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority srcnat; }; "+
		"add rule ip nat post ip saddr 172.17.0.0/24 oifname != \"br0\" masquerade")
	l.delivered(l.evil, "172.16.0.2:9", func() error { return l.send(container, "172.17.0.2:1", "172.16.0.2:9") })
	l.gateway.Run("ip", "link", "del", "sally0")
	l.dropped(netio.CounterClearOut, func() error { return l.send(container, "172.17.0.2:1", "192.168.6.5:9") })
}

// TestPoolThatContainsTheController: a mistake that only the controller can mend, so the uplink must live.
func TestPoolThatContainsTheController(t *testing.T) {
	l := newGuardLab(t)
	d := desired
	d.Pools = prefixes("10.99.0.0/16", "172.16.0.0/16", "fd99::/64")
	d.Uplink = []netip.AddrPort{netip.MustParseAddrPort("172.16.0.2:7443")}
	var err error
	l.gateway.Do(func() { err = l.network.Apply(t.Context(), d) })
	if err != nil {
		t.Fatal(err)
	}
	var listener net.Listener
	l.evil.Do(func() { listener, err = net.Listen("tcp", "172.16.0.2:7443") })
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	l.gateway.Do(func() {
		var c net.Conn
		dialer := net.Dialer{Timeout: 5 * time.Second, Control: netio.MarkControl(netio.DefaultMark)}
		if c, err = dialer.Dial("tcp", "172.16.0.2:7443"); err == nil {
			c.Close()
		}
	})
	if err != nil {
		t.Errorf("the uplink is cut off: %v; %v", err, l.counters())
	}
	t.Run("but nobody connects from its port", func(t *testing.T) {
		l := l.in(t)
		l.dropped(netio.CounterSpoofed, func() error {
			var err error
			l.evil.Do(func() {
				d := net.Dialer{Timeout: 100 * time.Millisecond, LocalAddr: &net.TCPAddr{IP: net.IPv4(172, 16, 0, 2), Port: 7443},
					Control: func(_, _ string, c syscall.RawConn) error {
						return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
					}}
				_ = listener.Close()
				_, err = d.Dial("tcp", "172.16.0.1:22")
			})
			return err
		})
	})
}
