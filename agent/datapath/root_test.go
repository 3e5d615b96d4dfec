//go:build linux

package datapath_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/netio/nstest"
)

// host is a namespace with all that an agent has but the controller.
//
//	 left ns                                                    right ns
//	sally0 10.99.0.1, fd99::1                                  sally0 10.99.0.2, fd99::2
//	  datapath ─ UDP 4500                                        datapath ─ UDP 4500
//	eth0 172.16.0.1, fd16::1 ───────────── veth ────────────── eth0 172.16.0.2, fd16::2
type host struct {
	*nstest.Namespace
	dp       *datapath.Datapath
	network  *netio.Network
	stateDir string
	stop     func() // ends the datapath, and with it the TUN
}

// cleanup takes away what the host had installed: it protects nothing any more.
func (h *host) cleanup() (err error) {
	h.Do(func() { err = netio.Cleanup(context.Background(), netio.Config{StateDir: h.stateDir}) })
	return err
}

func prefixes(ss ...string) (out []netip.Prefix) {
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// start runs a datapath in the namespace until the test ends.
func start(t *testing.T, ns *nstest.Namespace, local, remote string) *host {
	t.Helper()
	return startWith(t, ns, netio.Desired{
		Addresses: []netip.Addr{netip.MustParseAddr("10.99.0." + local), netip.MustParseAddr("fd99::" + local)},
		Pools:     prefixes("10.99.0.0/16", "fd99::/64"),
		Remote:    prefixes("10.99.0."+remote+"/32", "fd99::"+remote+"/128"),
	})
}

func startWith(t *testing.T, ns *nstest.Namespace, desired netio.Desired) *host {
	t.Helper()
	h := &host{Namespace: ns, stateDir: filepath.Join(t.TempDir(), "state")}
	var err error
	ns.Do(func() {
		var tun *netio.TUN
		if tun, err = netio.OpenTUN(netio.DefaultTUNName, netio.DefaultMTU); err != nil {
			return
		}
		config := datapath.Config{TUN: tun, Clock: netio.BootTime}
		if err = sockets(&config); err != nil {
			tun.Close()
			return
		}
		var routes *netio.Routes
		if routes, err = netio.OpenRoutes(netio.DefaultMark); err != nil {
			return
		}
		t.Cleanup(routes.Close)
		config.PathTo = routes.PathTo
		if h.dp, err = datapath.New(config); err != nil {
			return
		}
		if h.network, err = netio.NewNetwork(netio.Config{StateDir: h.stateDir}); err != nil {
			return
		}
		err = h.network.Apply(t.Context(), desired)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.network.Close)
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		if err := h.dp.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	h.stop = func() { cancel(); group.Wait() }
	t.Cleanup(h.stop)
	return h
}

// sockets opens those of every kind.
func sockets(c *datapath.Config) error {
	v4, v6, err := netio.ListenUDP(netio.UDPOptions{Port: netio.DefaultPort, Mark: netio.DefaultMark})
	if err != nil {
		return err
	}
	c.UDP = datapath.Sockets{IPv4: v4, IPv6: v6}
	for proto, into := range map[uint8]*datapath.Sockets{50: &c.ESP, 51: &c.AH} {
		v4, v6, err := netio.ListenRaw(proto, netio.DefaultMark)
		if err != nil {
			return err
		}
		*into = datapath.Sockets{IPv4: v4, IPv6: v6}
	}
	c.AHErrors, err = netio.ListenAHErrors()
	return err
}

func selectors(n string) []datapath.Selector {
	return []datapath.Selector{datapath.PrefixSelector(netip.MustParsePrefix("10.99.0." + n + "/32")),
		datapath.PrefixSelector(netip.MustParsePrefix("fd99::" + n + "/128"))}
}

// rootSA is one half of generation g with a key given by the test.
func rootSA(g uint32, direction byte) datapath.SA {
	return datapath.SA{ID: datapath.SAID{byte(g)}, Pair: datapath.PairID{1}, Generation: g, SPI: 0x1000*uint32(direction) + g,
		Transform: datapath.Transform{ID: 20, KeyBits: 256}, ESN: true, Key: bytes.Repeat([]byte{byte(g), direction}, 18)}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func connected(t *testing.T, leftUnderlay, rightUnderlay string) (left, right *host) {
	t.Helper()
	leftNS, rightNS := nstest.New(t), nstest.New(t)
	nstest.Connect(t, leftNS, "eth0", prefixes("172.16.0.1/24", "fd16::1/64"), rightNS, "eth0", prefixes("172.16.0.2/24", "fd16::2/64"))
	// The strictest reverse path check there is.
	for _, ns := range []*nstest.Namespace{leftNS, rightNS} {
		ns.Run("sysctl", "-q", "-w", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=1")
	}
	left, right = start(t, leftNS, "1", "2"), start(t, rightNS, "2", "1")
	pair := datapath.Pair{ID: datapath.PairID{1}, RemoteHost: "other"}
	pair.Local, pair.Remote, pair.Path.Remote = selectors("1"), selectors("2"), netip.MustParseAddrPort(rightUnderlay)
	must(t, left.dp.SetPair(pair))
	pair.Local, pair.Remote, pair.Path.Remote = selectors("2"), selectors("1"), netip.MustParseAddrPort(leftUnderlay)
	must(t, right.dp.SetPair(pair))
	rekey(t, left, right, 1)
	return left, right
}

func rekey(t *testing.T, left, right *host, g uint32) {
	t.Helper()
	must(t, left.dp.InstallInbound(rootSA(g, 2)), right.dp.InstallInbound(rootSA(g, 1)),
		left.dp.InstallOutbound(rootSA(g, 1)), right.dp.InstallOutbound(rootSA(g, 2)))
}

func TestPingThroughESP(t *testing.T) {
	for name, underlay := range map[string][2]string{
		"IPv4 underlay": {"172.16.0.1:4500", "172.16.0.2:4500"},
		"IPv6 underlay": {"[fd16::1]:4500", "[fd16::2]:4500"},
	} {
		t.Run(name, func(t *testing.T) {
			left, right := connected(t, underlay[0], underlay[1])
			for _, ping := range [][]string{{"10.99.0.2"}, {"fd99::2"}, {"-s", "1350", "10.99.0.2"}, {"-s", "1340", "fd99::2"}, {"-s", "30000", "10.99.0.2"}} {
				// -w waits for the answers; -W alone gives up after two round trips.
				out := left.Run("ping", append([]string{"-c", "5", "-i", "0.02", "-w", "10"}, ping...)...)
				if !strings.Contains(out, " 5 received") {
					t.Errorf("ping %v: %s", ping, out)
				}
			}
			right.Run("ping", "-c", "1", "-W", "5", "10.99.0.1")
			// The counters follow a batch of packets, they do not precede it.
			for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
				l, r := left.dp.Counters(), right.dp.Counters()
				if l.OutPackets >= 26 && l.OutPackets == r.InPackets && r.OutPackets == l.InPackets {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("left %+v, right %+v", l, r)
				}
			}
		})
	}
}

// TestRekeyUnderPing changes keys 20 times under a fast ping.
func TestRekeyUnderPing(t *testing.T) {
	left, right := connected(t, "172.16.0.1:4500", "172.16.0.2:4500")
	done := make(chan struct{})
	var out string
	var err error
	go func() {
		defer close(done)
		out, err = left.Output("ping", "-c", "400", "-i", "0.005", "-W", "5", "10.99.0.2")
	}()
	g := uint32(1)
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(50 * time.Millisecond):
			g++
			rekey(t, left, right, g)
			old := datapath.SAID{byte(g - 1)}
			must(t, left.dp.RemoveOutbound(old), right.dp.RemoveOutbound(old))
			if g > 3 { // the inbound SAs drain for two periods
				old = datapath.SAID{byte(g - 3)}
				must(t, left.dp.RemoveInbound(old), right.dp.RemoveInbound(old))
			}
		}
	}
	if err != nil || !strings.Contains(out, " 400 received, 0% packet loss") {
		t.Errorf("%d rekeys: %v: %s; left %+v, right %+v", g-1, err, out, left.dp.Counters(), right.dp.Counters())
	}
	if g < 10 {
		t.Errorf("only %d rekeys in the time of the ping", g-1)
	}
}

// TestNothingInClear captures the underlay while the datapath carries traffic, and while it has no SA.
func TestNothingInClear(t *testing.T) {
	left, right := connected(t, "172.16.0.1:4500", "172.16.0.2:4500")
	// The right end counts what arrives on the underlay by protocol.
	right.Run("nft", `add table inet watch; add chain inet watch in { type filter hook prerouting priority -400; };
		add rule inet watch in iifname eth0 udp dport 4500 counter comment "outer";
		add rule inet watch in iifname eth0 meta protocol { ip, ip6 } udp dport != 4500 counter comment "clear";
		add rule inet watch in iifname eth0 meta protocol { ip, ip6 } meta l4proto { icmp, tcp } counter comment "clear";
		add rule inet watch in iifname eth0 icmpv6 type { echo-request, echo-reply } counter comment "clear"`)
	left.Run("ping", "-c", "3", "-i", "0.02", "-W", "5", "10.99.0.2")
	left.Run("ping", "-c", "3", "-i", "0.02", "-W", "5", "fd99::2")
	must(t, left.dp.RemoveOutbound(datapath.SAID{1}))
	for _, to := range []string{"10.99.0.2", "fd99::2", "10.99.0.77"} {
		if out, err := left.Output("ping", "-c", "1", "-W", "1", to); err == nil {
			t.Errorf("ping %s without an SA: %s", to, out)
		}
	}
	outer := 0
	for line := range strings.Lines(right.Run("nft", "list", "chain", "inet", "watch", "in")) {
		var packets int
		_, counter, ok := strings.Cut(line, "counter packets ")
		if !ok {
			continue
		}
		fmt.Sscan(counter, &packets)
		if strings.Contains(line, `"outer"`) {
			outer = packets
		} else if packets > 0 {
			t.Errorf("in clear on the underlay: %s", strings.TrimSpace(line))
		}
	}
	if outer < 6 {
		t.Errorf("%d outer packets seen: the watch does not work", outer)
	}
	if n := left.dp.Counters().Drops(datapath.OutNoSA); n != 2 {
		t.Errorf("%d packets dropped without an SA, want 2 (the third ping has no route)", n)
	}
}

// TestTCPThroughESP moves a stream whose segments the TUN splits and joins.
func TestTCPThroughESP(t *testing.T) {
	left, right := connected(t, "172.16.0.1:4500", "172.16.0.2:4500")
	const size = 64 << 20
	for _, addr := range []string{"10.99.0.2:7000", "[fd99::2]:7000"} {
		took := transfer(t, left, right, nil, addr, size, time.Minute)
		t.Logf("%s: %.0f Mbit/s", addr, size*8/1e6/took.Seconds())
	}
}
