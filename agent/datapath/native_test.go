package datapath

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// TestNativeInboundDrops gives b whole IP datagrams that a foreign or hostile end makes: each is dropped for its
// reason, and neither the SA's account nor its window moves unless the packet is authentic.
func TestNativeInboundDrops(t *testing.T) {
	for _, p := range []protection{{ESP, Tunnel, Native, false}, {AH, Tunnel, Native, false}, {AH, Transport, Native, true}, {ESP, Transport, Native, true}} {
		header := 20
		if p.v6 {
			header = 40
		}
		spiAt := header
		if p.protocol == AH {
			spiAt += 4
		}
		for name, c := range map[string]struct {
			change func(b []byte) []byte
			want   Reason
		}{
			"nothing":        {func([]byte) []byte { return nil }, InTruncated},
			"a header alone": {func(b []byte) []byte { b = b[:header]; ipwire.SetLength(b); return b }, InTruncated},
			"cut":            {func(b []byte) []byte { return b[:len(b)-1] }, InTruncated},
			"short":          {func(b []byte) []byte { b = b[:header+11]; ipwire.SetLength(b); return b }, InTruncated},
			"another protocol": {func(b []byte) []byte {
				at := 9
				if p.v6 {
					at = 6
				}
				b[at] = 89
				return b
			}, InTruncated},
			"reserved SPI":  {func(b []byte) []byte { binary.BigEndian.PutUint32(b[spiAt:], 255); return b }, InNoSA},
			"unknown SPI":   {func(b []byte) []byte { b[spiAt] ^= 0x40; return b }, InNoSA},
			"forged ICV":    {func(b []byte) []byte { b[spiAt+9] ^= 1; return b }, InForged},
			"forged end":    {func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, InForged},
			"forged number": {func(b []byte) []byte { b[spiAt+7] ^= 0x20; return b }, InForged},
		} {
			t.Run(p.String()+" "+name, func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.protect(p, nil)
					var packet []byte
					w.wire.setTap(func(f *frame) bool { packet = bytes.Clone(f.data); return false })
					w.a.send(p.inside(100, false))
					w.wire.setTap(nil)
					var before SAStatus
					state := func() (in SAStatus) {
						for _, sa := range w.b.SAs() {
							if sa.Inbound {
								in = sa
								in.Age, in.Idle, in.Forged, in.Replayed = 0, 0, 0, 0
							}
						}
						return in
					}
					before = state()
					_, outer := p.outer()
					to := frame{from: aAddr, to: bAddr}
					to.to = addrPort(outer, uint16(p.protocol))
					if p.v6 {
						to.from = addrPort(v6Of[aAddr], 0)
					}
					to.data = c.change(bytes.Clone(packet))
					w.wire.inject(to)
					if got := w.b.received(); len(got) != 0 || w.b.Counters().Drops(c.want) != 1 {
						t.Errorf("%d passed; drops %v, want one %v", len(got), drops(w.b.Datapath), c.want)
					}
					if after := state(); after != before {
						t.Errorf("the SA was %+v and is %+v", before, after)
					}
					to.data = packet
					w.wire.inject(to)
					w.wire.inject(to)
					if got := w.b.received(); len(got) != 1 || w.b.Counters().Drops(InReplayed) != 1 {
						t.Errorf("the real one: %d passed; drops %v", len(got), drops(w.b.Datapath))
					}
				})
			})
		}
	}
}

// TestProtocolsDoNotMix: an SA opens packets of its own protocol only.
func TestProtocolsDoNotMix(t *testing.T) {
	inWorld(t, func(w *world) {
		p := protection{AH, Tunnel, Native, false}
		w.protect(p, nil)
		forged := append(make([]byte, 20), seal(t, sealer(t, SA{SPI: half(1, 1).SPI, Transform: gcm128, Key: make([]byte, 20)}), aToB, 4)...)
		if _, err := ipwire.PutIPv4(forged, ipwire.IPv4Header{TTL: 64, Protocol: uint8(ESP), Src: aAddr.Addr(), Dst: bAddr.Addr()}); err != nil {
			t.Fatal(err)
		}
		w.wire.inject(frame{from: aAddr, to: addrPort(bAddr.Addr(), uint16(ESP)), data: forged})
		if got := w.b.received(); len(got) != 0 || w.b.Counters().Drops(InNoSA) != 1 {
			t.Errorf("%d passed; drops %v", len(got), drops(w.b.Datapath))
		}
	})
}

func addrPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

// FuzzNative gives arbitrary IP datagrams to a receiver of native ESP and AH: each is counted once, and what is not
// authentic goes nowhere.
func FuzzNative(f *testing.F) {
	tun, conn := new(nullTUN), new(nullConn)
	f.Add([]byte{}, true)
	f.Add(append([]byte{0x45, 0, 0, 60, 0, 0, 0, 0, 64, 50, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2}, make([]byte, 40)...), false)
	f.Add(append([]byte{0x45, 0, 0, 60, 0, 0, 0, 0, 64, 51, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 4, 4, 0, 0, 0, 0, 0x10, 1}, make([]byte, 32)...), true)
	var r [2]*receiver
	f.Fuzz(func(t *testing.T, packet []byte, isAH bool) {
		if len(packet) > 65535 {
			return
		}
		d, _, _ := still(t)
		sa := half(2, 1)
		sa.Protocol, sa.Encapsulation, sa.Mode, sa.SPI = AH, Native, Transport, 0x1001+0x100
		sa.Transform, sa.Key = Transform{Integrity: 12}, make([]byte, 32)
		if err := d.InstallInbound(sa); err != nil {
			t.Fatal(err)
		}
		l, i := linkESP, 0
		if isAH {
			l, i = linkAH, 1
		}
		if r[i] == nil {
			r[i] = newReceiver(d, l, conn)
		}
		r[i].d, r[i].conn = d, conn
		d.config.TUN = tun
		arrive(r[i], 0, packet, aAddr)
		r[i].deliver(1)
		c := d.Counters()
		counted := c.InPackets + c.InDummies
		for _, reason := range Reasons() {
			counted += c.Drops(reason)
		}
		if counted != 1 || c.InPackets != 0 {
			t.Errorf("counted %d times, %d passed", counted, c.InPackets)
		}
	})
}
