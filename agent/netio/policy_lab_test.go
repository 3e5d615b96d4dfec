//go:build linux

package netio_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/netio/nstest"
	"sallyport.dev/sallyport/agent/offload"
	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// policyLab is a gateway that carries out policies, with strict reverse path checks on every device:
//
//	inside ns ─────────────── gateway ns ─────────────── outside ns
//	10.1.0.2 lan0    eth1 10.1.0.1   eth0 172.16.0.1   eth0 172.16.0.2: the gateway's default route
//	fd01::2               fd01::1         fd16::1           fd16::2
//	                     sally0 10.99.0.1, fd99::1: the test reads and writes it
//
// Everything is watched: a packet that the test sends is seen in one of the namespaces or the TUN, or counted by the
// guard. What the kernel drops by itself is not seen anywhere.
type policyLab struct {
	t                        *testing.T
	inside, gateway, outside *nstest.Namespace
	network                  *netio.Network
	config                   netio.Config
	tun                      *netio.TUN
	seen                     chan sighting
	tags                     *int
}

type sighting struct {
	where  string // "tun", "inside", "outside", "gateway"
	packet []byte
}

func newPolicyLab(t *testing.T, d netio.Desired) *policyLab {
	l := &policyLab{t: t, inside: nstest.New(t), gateway: nstest.New(t), outside: nstest.New(t), seen: make(chan sighting, 1024), tags: new(int)}
	l.gateway.Run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
		"net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.default.rp_filter=1")
	nstest.Connect(t, l.gateway, "eth1", prefixes("10.1.0.1/16", "fd01::1/64"), l.inside, "lan0", prefixes("10.1.0.2/16", "fd01::2/64"))
	nstest.Connect(t, l.gateway, "eth0", prefixes("172.16.0.1/24", "fd16::1/64"), l.outside, "eth0", prefixes("172.16.0.2/24", "fd16::2/64"))
	for _, via := range []string{"172.16.0.2", "fd16::2"} {
		l.gateway.Run("ip", "route", "add", "default", "via", via)
	}
	for _, ns := range []*nstest.Namespace{l.inside, l.gateway, l.outside} { // an error would quote what was sent
		ns.Run("nft", "add table inet quiet; add chain inet quiet out { type filter hook output priority 300; }; "+
			"add rule inet quiet out icmp type { destination-unreachable, redirect, parameter-problem } drop; "+
			"add rule inet quiet out icmpv6 type { destination-unreachable, nd-redirect, parameter-problem } drop")
	}
	l.config = netio.Config{StateDir: filepath.Join(t.TempDir(), "state")}
	var err error
	l.gateway.Do(func() {
		if l.tun, err = netio.OpenTUN(netio.DefaultTUNName, netio.DefaultMTU); err == nil {
			l.network, err = netio.NewNetwork(l.config)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.network.Close(); l.tun.Close() })
	l.apply(d)
	go l.readTUN()
	l.watch(l.inside, "inside", unix.AF_PACKET, unix.SOCK_DGRAM, int(htons(unix.ETH_P_ALL)))
	l.watch(l.outside, "outside", unix.AF_PACKET, unix.SOCK_DGRAM, int(htons(unix.ETH_P_ALL)))
	for _, proto := range []int{unix.IPPROTO_UDP, unix.IPPROTO_TCP, unix.IPPROTO_ICMP, unix.IPPROTO_ESP} {
		l.watch(l.gateway, "gateway", unix.AF_INET, unix.SOCK_RAW, proto)
	}
	for _, proto := range []int{unix.IPPROTO_UDP, unix.IPPROTO_TCP, unix.IPPROTO_ICMPV6, unix.IPPROTO_ESP} {
		l.watch(l.gateway, "gateway", unix.AF_INET6, unix.SOCK_RAW, proto)
	}
	return l
}

func (l *policyLab) apply(d netio.Desired) {
	l.t.Helper()
	var err error
	l.gateway.Do(func() { err = l.network.Apply(l.t.Context(), d) })
	if err != nil {
		l.t.Fatal(err)
	}
}

// in is the same lab for a subtest.
func (l policyLab) in(t *testing.T) *policyLab {
	l.t = t
	return &l
}

func (l *policyLab) readTUN() {
	b := make([]byte, 1<<17)
	var segments offload.Splitter
	for {
		n, err := l.tun.Read(b, true)
		if err != nil {
			return
		}
		if segments.Reset(b[:n]) != nil {
			continue
		}
		for p, ok := segments.Next(); ok; p, ok = segments.Next() {
			l.seen <- sighting{"tun", bytes.Clone(p)}
		}
	}
}

// watch tells what a socket receives, until the test is over.
func (l *policyLab) watch(ns *nstest.Namespace, where string, family, kind, proto int) {
	l.t.Helper()
	fd := -1
	var err error
	ns.Do(func() { fd, err = unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto) })
	if err == nil && family == unix.AF_PACKET {
		err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	}
	if err != nil {
		l.t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), where)
	l.t.Cleanup(func() { f.Close() })
	go func() {
		b := make([]byte, 65600)
		for {
			n, err := f.Read(b)
			if err != nil {
				return
			}
			l.seen <- sighting{where, bytes.Clone(b[:n])}
		}
	}()
}

func (l *policyLab) counters() map[string]uint64 {
	l.t.Helper()
	var c map[string]uint64
	var err error
	l.gateway.Do(func() { c, err = netio.GuardCounters(l.t.Context(), l.config) })
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

// fate sends a packet and says where it ended: where it was seen, the counter that rose, or "lost".
func (l *policyLab) fate(p probe) string {
	l.t.Helper()
	*l.tags++
	tag := fmt.Appendf(nil, "<%08d>", *l.tags)
	before := l.counters()
	if err := l.send(p.from, p.packet(l.t, tag)); err != nil {
		l.t.Logf("%s: %v", p, err) // a drop on output is an error to the sender
	}
	deadline := time.After(3 * time.Second)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case s := <-l.seen:
			if bytes.Contains(s.packet, tag) {
				return s.where
			}
		case <-look.C:
			now := l.counters()
			for name := range now {
				if now[name] != before[name] {
					return name
				}
			}
		case <-deadline:
			return "lost"
		}
	}
}

// probe is one packet: where it is sent, and what it looks like.
type probe struct {
	from     string // "inside", "outside", "gateway", "gateway marked", "gateway by eth0", "tun"
	src, dst string // address, or address:port
	proto    uint8  // 0 is UDP
	icmp     uint16 // type<<8|code
	fragment bool   // a later one
	quoted   []byte // of an ICMP error
}

func (p probe) String() string { return fmt.Sprintf("from %s: %s to %s", p.from, p.src, p.dst) }

func endpoint(text string) netip.AddrPort {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(a, 0)
	}
	return netip.MustParseAddrPort(text)
}

// payload is the transport header of the protocol and the tag.
func (p probe) payload(src, dst netip.AddrPort, tag []byte) []byte {
	var b []byte
	switch p.proto {
	case 0, ipwire.ProtoUDP, ipwire.ProtoUDPLite, ipwire.ProtoSCTP, ipwire.ProtoDCCP, ipwire.ProtoTCP:
		b = binary.BigEndian.AppendUint16(b, src.Port())
		b = binary.BigEndian.AppendUint16(b, dst.Port())
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(tag)))
		b = append(b, 0xff, 0xff)
		if p.proto == ipwire.ProtoTCP {
			b = append(b, 0, 0, 0, 0, 0x50, 0x10, 1, 0, 0, 0, 0, 0)
		}
	case ipwire.ProtoICMP, ipwire.ProtoICMPv6:
		b = append(binary.BigEndian.AppendUint16(b, p.icmp), 0, 0, 0, 0, 0, 0)
		b = append(b, p.quoted...)
	default:
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	return append(b, tag...)
}

func (p probe) packet(t *testing.T, tag []byte) []byte {
	t.Helper()
	src, dst := endpoint(p.src), endpoint(p.dst)
	proto := p.proto
	if proto == 0 {
		proto = ipwire.ProtoUDP
	}
	payload := p.payload(src, dst, tag)
	if p.fragment {
		payload = append([]byte("fragment"), tag...)
	}
	var b []byte
	var err error
	if src.Addr().Is4() {
		b = append(make([]byte, ipwire.IPv4MinHeaderLen), payload...)
		_, err = ipwire.PutIPv4(b, ipwire.IPv4Header{ID: 1, TTL: 64, Protocol: proto, Src: src.Addr(), Dst: dst.Addr()})
		if p.fragment {
			b[7] = 100
			ipwire.IPv4(b).UpdateChecksum()
		} else if proto == ipwire.ProtoICMP {
			binary.BigEndian.PutUint16(b[22:], ^ipwire.Sum(b[20:]))
		}
	} else {
		next := proto
		if p.fragment {
			payload = append([]byte{proto, 0, 0x03, 0x20, 0, 0, 0, 7}, payload...)
			next = 44
		}
		b = append(make([]byte, ipwire.IPv6HeaderLen), payload...)
		_, err = ipwire.PutIPv6(b, ipwire.IPv6Header{HopLimit: 64, NextHeader: next, Src: src.Addr(), Dst: dst.Addr()})
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = ipwire.RepairChecksum(b) // where there is one
	return b
}

func (l *policyLab) send(from string, packet []byte) error {
	switch from {
	case "inside":
		return l.inject(l.inside, "lan0", l.gateway, "eth1", packet)
	case "outside":
		return l.inject(l.outside, "eth0", l.gateway, "eth0", packet)
	case "gateway":
		return l.sendRaw(packet, 0, "")
	case "gateway marked":
		return l.sendRaw(packet, netio.DefaultMark, "")
	case "gateway by eth0":
		return l.sendRaw(packet, 0, "eth0")
	case "tun":
		return l.tun.Write([][]byte{make([]byte, offload.HeaderLen), packet})
	}
	return fmt.Errorf("from %q", from)
}

// inject puts a packet on a wire as it is, whatever its addresses.
func (l *policyLab) inject(ns *nstest.Namespace, device string, to *nstest.Namespace, toDevice string, packet []byte) error {
	var peer, own *net.Interface
	var err error
	to.Do(func() { peer, err = net.InterfaceByName(toDevice) })
	if err != nil {
		return err
	}
	ns.Do(func() {
		if own, err = net.InterfaceByName(device); err != nil {
			return
		}
		var fd int
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(fd)
		a := &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_IP), Ifindex: own.Index, Halen: 6}
		if ipwire.Version(packet) == 6 {
			a.Protocol = htons(unix.ETH_P_IPV6)
		}
		copy(a.Addr[:], peer.HardwareAddr)
		err = unix.Sendto(fd, packet, 0, a)
	})
	return err
}

// sendRaw sends from the gateway itself; a mark of 0 is none. Bound to a device, it goes there whatever the routes say.
func (l *policyLab) sendRaw(packet []byte, mark int, device string) error {
	var err error
	l.gateway.Do(func() {
		family, address := unix.AF_INET, unix.Sockaddr(nil)
		if ipwire.Version(packet) == 4 {
			address = &unix.SockaddrInet4{Addr: ipwire.IPv4(packet).Dst().As4()}
		} else {
			family, address = unix.AF_INET6, &unix.SockaddrInet6{Addr: ipwire.IPv6(packet).Dst().As16()}
		}
		var fd int
		if fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW); err != nil {
			return
		}
		defer unix.Close(fd)
		if mark != 0 {
			if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark); err != nil {
				return
			}
		}
		if device != "" {
			if err = unix.BindToDevice(fd, device); err != nil {
				return
			}
		}
		err = unix.Sendto(fd, packet, 0, address)
	})
	return err
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// policy reads selectors as spd.ParseSelectors does, one on each side.
func policy(t *testing.T, action spd.Action, local, remote string) netio.Policy {
	t.Helper()
	read := func(text string) []spd.Selector {
		s, err := spd.ParseSelectors(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	return netio.Policy{Action: action, Local: read(local), Remote: read(remote)}
}

// expect runs probes, each with the fate that it should have.
func (l *policyLab) expect(t *testing.T, cases []fateCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := l.in(t)
			if got := l.fate(c.probe); got != c.want {
				t.Errorf("%s: %s, want %s; %v", c.probe, got, c.want, l.counters())
			}
		})
	}
}

type fateCase struct {
	name string
	probe
	want string
}
