package datapath

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// protection is one way to protect a packet.
type protection struct {
	protocol      Protocol
	mode          Mode
	encapsulation Encapsulation
	v6            bool // the outer addresses
}

func (p protection) String() string {
	family := "IPv4"
	if p.v6 {
		family = "IPv6"
	}
	return fmt.Sprintf("%v %v %v over %s", p.protocol, p.mode, p.encapsulation, family)
}

func protections() (all []protection) {
	for _, v6 := range []bool{false, true} {
		for _, mode := range []Mode{Tunnel, Transport} {
			all = append(all, protection{ESP, mode, UDP, v6}, protection{ESP, mode, Native, v6}, protection{AH, mode, Native, v6})
		}
	}
	return all
}

// outer are the outer addresses of both ends.
func (p protection) outer() (a, b netip.Addr) {
	if p.v6 {
		return v6Of[aAddr], v6Of[bAddr]
	}
	return aAddr.Addr(), bAddr.Addr()
}

// protect makes pair and SAs of that kind between the world's ends.
func (w *world) protect(p protection, change func(*SA)) {
	w.t.Helper()
	a, b := p.outer()
	pair := func(local, remote netip.Addr, l, r string) Pair {
		out := pairOf(l, r, PathSpec{Remote: netip.AddrPortFrom(remote, 4500)})
		if p.mode == Transport {
			out.Local, out.Remote = []Selector{PrefixSelector(netip.PrefixFrom(local, local.BitLen()))}, []Selector{PrefixSelector(netip.PrefixFrom(remote, remote.BitLen()))}
		}
		return out
	}
	w.must(w.a.SetPair(pair(a, b, "1", "2")), w.b.SetPair(pair(b, a, "2", "1")))
	sa := func(direction byte) SA {
		sa := half(1, direction)
		sa.Protocol, sa.Mode, sa.Encapsulation = p.protocol, p.mode, p.encapsulation
		if p.protocol == AH {
			sa.Transform = Transform{Integrity: transform.IntegHMACSHA2_256_128}
			sa.Key = bytes.Repeat([]byte{direction}, 32)
		}
		if change != nil {
			change(&sa)
		}
		return sa
	}
	w.must(w.a.InstallInbound(sa(2)), w.b.InstallInbound(sa(1)), w.a.InstallOutbound(sa(1)), w.b.InstallOutbound(sa(2)))
	w.a.received()
	w.wire.setTap(nil)
}

// inside is a packet that such a pair carries from a to b.
func (p protection) inside(n int, v6 bool) []byte {
	if p.mode == Transport {
		a, b := p.outer()
		return inner(a.String(), b.String(), n)
	}
	if v6 {
		return inner("fd09::1", "fd09::2", n)
	}
	return inner("10.9.0.1", "10.9.0.2", n)
}

func TestEveryProtectionCarriesPackets(t *testing.T) {
	for _, p := range protections() {
		t.Run(p.String(), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.protect(p, nil)
				for _, n := range []int{0, 1, 2, 3, 4, 5, 100, 1300, 9000} {
					for _, v6 := range []bool{false, true} {
						packet := p.inside(n, v6)
						w.a.send(bytes.Clone(packet))
						got := w.b.received()
						if len(got) != 1 || !alike(got[0], packet) {
							t.Fatalf("%d bytes: %d packets arrived; drops %v, %v\nsent % x\ngot  % x", n, len(got), drops(w.a.Datapath), drops(w.b.Datapath), packet, got)
						}
					}
				}
				sent := w.wire.sent(netip.AddrPort{})
				if len(sent) != 18 {
					t.Errorf("%d packets on the wire", len(sent))
				}
				for _, f := range sent {
					p.check(t, f)
				}
				if s := w.b.SAs(); len(s) != 2 || s[0].Packets+s[1].Packets < 18 {
					t.Errorf("SAs %+v", s)
				}
			})
		})
	}
}

// alike compares packets as transport mode in UDP hands them over: with another TTL, identification and DF.
func alike(got, want []byte) bool {
	got, want = bytes.Clone(got), bytes.Clone(want)
	for _, p := range [][]byte{got, want} {
		if ipwire.Version(p) == 4 {
			copy(p[4:12], make([]byte, 8))
			p[9] = 17
		} else {
			p[7] = 0
		}
	}
	return bytes.Equal(got, want)
}

// check looks at an outer packet as a stranger does.
func (p protection) check(t *testing.T, f frame) {
	t.Helper()
	if p.encapsulation == UDP {
		if f.to.Port() != 4500 {
			t.Errorf("sent to %v", f.to)
		}
		return
	}
	version := 4
	if p.v6 {
		version = 6
	}
	n, err := ipwire.DatagramLen(f.data)
	if err != nil || n != len(f.data) || ipwire.Version(f.data) != version {
		t.Fatalf("outer packet % x: %d, %v", f.data[:40], n, err)
	}
	flow, err := ipwire.ParseFlow(f.data)
	a, b := p.outer()
	if err != nil || flow.Proto != uint8(p.protocol) || flow.Src != a || flow.Dst != b {
		t.Errorf("outer flow %+v, %v", flow, err)
	}
	if version == 4 && (!ipwire.IPv4(f.data).ChecksumOK() || ipwire.IPv4(f.data).ID() == 0 && !ipwire.IPv4(f.data).DontFragment()) {
		t.Errorf("outer header % x", f.data[:20])
	}
}
