//go:build linux

package netio_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/agent/netio"
)

// someRuns are runs of every shape, and datagrams that are none.
func someRuns() []datagram.Packet {
	return []datagram.Packet{
		run(1, 0), run(1439, 0), run(100, 100), run(100, 101), // one datagram
		run(2, 1), run(2880, 1440), run(2881, 1440), run(2*1440+7, 1440), run(1453+1452, 1452-1),
		run(37*63, 37), run(37*64, 37), run(37*64+1, 37), run(37*128, 37), run(37*128+1, 37), run(37*300+5, 37), run(999, 1),
		run(1440*45, 1440), run(1440*46, 1440), run(1440*100+3, 1440), run(65400, 511), run(65401, 511), run(65507, 1400), run(65535, 1400), run(200000, 1401),
	}
}

// TestRunsLeaveAsTheirDatagrams: another program gets exactly those, in order, and on the link each is as if it had been
// sent on its own: with segmentation by the device, and by the kernel for a device that has no offload.
func TestRunsLeaveAsTheirDatagrams(t *testing.T) {
	w := newWire(t)
	for _, software := range []bool{false, true} {
		if software {
			w.offload(w.left, unix.ETHTOOL_STXCSUM, 0)
		}
		for _, e := range bothFamilies() {
			for _, df := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s DF %v in software %v", e.name, df, software), func(t *testing.T) {
					w := &wire{t, w.left, w.right}
					s, conn := w.listen(w.left, e, netio.UDPOptions{Mark: netio.DefaultMark}), w.plain(e)
					for i, p := range someRuns() {
						p.Remote, p.Local, p.DF, p.TOS = netip.AddrPortFrom(e.to, 4500), e.from, df, uint8(0xb8|i%4)
						fd := w.capture()
						ps := []datagram.Packet{p}
						if n, err := s.Send(ps); n != p.Count() || err != nil || ps[0].Err != nil {
							t.Fatalf("run of %d by %d: %d left, %v", len(p.Data), p.Segment, n, err)
						}
						want, buf := datagrams(p), make([]byte, 70000)
						for j, d := range want {
							n, from, err := conn.ReadFromUDPAddrPort(buf)
							if err != nil || !bytes.Equal(buf[:n], d) || from != netip.AddrPortFrom(e.from, 4500) {
								t.Fatalf("run of %d by %d: datagram %d has %d bytes and is from %v: %v", len(p.Data), p.Segment, j, n, from, err)
							}
						}
						if software {
							checkFrames(t, w.frames(fd, len(want)), want, p)
						}
						unix.Close(fd)
					}
					if o := s.Offload(); o.Send != nil || o.Receive != nil {
						t.Errorf("offload: %+v", o)
					}
				})
			}
		}
	}
}

// checkFrames compares what was on the link with the datagrams that were sent.
func checkFrames(t *testing.T, frames []frame, want [][]byte, p datagram.Packet) {
	t.Helper()
	ids := map[uint16]bool{}
	for i, f := range frames {
		if !bytes.Equal(f.payload, want[i]) || !f.valid || f.tos != p.TOS || f.src != p.Local || f.df != (p.DF && p.Local.Is4()) {
			t.Fatalf("run of %d by %d: frame %d: %d bytes, %+v", len(p.Data), p.Segment, i, len(f.payload), f)
		}
		ids[f.id] = true
	}
	if p.Local.Is4() && !p.DF && len(ids) != len(frames) {
		t.Errorf("%d datagrams that may be fragmented have %d identifications", len(frames), len(ids))
	}
}

// TestRunsArriveAsRuns: what one socket of ours sends in one message the other gets in one.
func TestRunsArriveAsRuns(t *testing.T) {
	w := newWire(t)
	for _, e := range bothFamilies() {
		t.Run(e.name, func(t *testing.T) {
			w := &wire{t, w.left, w.right}
			s, peer := w.listen(w.left, e, netio.UDPOptions{Mark: netio.DefaultMark}), w.listen(w.right, e, netio.UDPOptions{})
			for i, p := range []datagram.Packet{run(2, 1), run(2880, 1440), run(2*1440+7, 1440), run(100*128, 100), run(100*127+1, 100), run(65400, 1400), run(1200*54, 1200), run(37, 37), run(37, 0)} {
				p.Remote, p.Local, p.DF, p.TOS = netip.AddrPortFrom(e.to, 4500), e.from, true, uint8(0xb8|i%4)
				if n, err := s.Send([]datagram.Packet{p}); n != p.Count() || err != nil {
					t.Fatal(n, err)
				}
				got := arrive(t, peer, 1)[0]
				if !bytes.Equal(got.Data, p.Data) || got.Count() != p.Count() || got.Count() > 1 && got.Segment != p.Segment {
					t.Errorf("run of %d by %d arrived as %d by %d", len(p.Data), p.Segment, len(got.Data), got.Segment)
				}
				if got.Err != nil || got.TOS != p.TOS || got.TTL != 64 || got.Local != e.to || got.Remote != netip.AddrPortFrom(e.from, 4500) {
					t.Errorf("TOS %#x, TTL %d, at %v from %v: %v", got.TOS, got.TTL, got.Local, got.Remote, got.Err)
				}
			}
		})
	}
}

// TestReceivedMemory: batches of mixed senders lie each in memory of its own, which may be changed up to its end, and
// nothing beyond.
func TestReceivedMemory(t *testing.T) {
	w := newWire(t)
	e := bothFamilies()[0]
	peer := w.listen(w.right, e, netio.UDPOptions{})
	s := w.listen(w.left, e, netio.UDPOptions{})
	to := netip.AddrPortFrom(e.to, 4500)
	var sent []datagram.Packet
	for i := range 20 {
		p := run(1000*(i%5)+i+1, 333)
		p.Remote, p.DF, p.TOS = to, i%3 > 0, uint8(i%4)
		p.Local = netip.MustParseAddr([]string{"192.0.2.1", "192.0.2.7"}[i%2])
		sent = append(sent, p)
	}
	total := 0
	for i := range sent {
		total += sent[i].Count()
	}
	if n, err := s.Send(sent); n != total || err != nil {
		t.Fatalf("%d of %d left, %v", n, total, err)
	}
	timeout := time.AfterFunc(10*time.Second, func() { peer.Close() })
	defer timeout.Stop()
	var want [][]byte
	for i := range sent {
		want = append(want, datagrams(sent[i])...)
	}
	for at := 0; at < total; {
		ps := make([]datagram.Packet, 16)
		n, err := peer.Recv(ps)
		if err != nil {
			t.Fatal(err)
		}
		for i := range ps[:n] {
			if cap(ps[i].Data) != len(ps[i].Data) {
				t.Errorf("%d bytes, room for %d", len(ps[i].Data), cap(ps[i].Data))
			}
			for _, d := range datagrams(ps[i]) {
				if at == total || !bytes.Equal(d, want[at]) {
					t.Fatalf("datagram %d of %d: %d bytes", at, total, len(d))
				}
				at++
			}
			clear(ps[i].Data) // it is ours
		}
	}
}

// TestRunsTooBigForTheLink: with DF none leaves, without all do, in fragments.
func TestRunsTooBigForTheLink(t *testing.T) {
	w := newWire(t)
	w.left.Run("ip", "link", "set", "eth0", "mtu", "1400")
	for _, e := range bothFamilies() {
		t.Run(e.name, func(t *testing.T) {
			w := &wire{t, w.left, w.right}
			s, conn := w.listen(w.left, e, netio.UDPOptions{}), w.plain(e)
			ps := []datagram.Packet{run(1440*3+5, 1440), run(1440*100, 1440), run(1440*4+5, 1440), run(1300*3+5, 1300)}
			for i := range ps {
				ps[i].Remote, ps[i].DF = netip.AddrPortFrom(e.to, 4500), i != 2
			}
			if n, err := s.Send(ps); n != 5+4 || !errors.Is(err, datagram.ErrTooBig) {
				t.Errorf("%d left, %v", n, err)
			}
			for i, p := range ps {
				if tooBig := i < 2; errors.Is(p.Err, datagram.ErrTooBig) != tooBig || !tooBig && p.Err != nil {
					t.Errorf("run %d: %v", i, p.Err)
				}
			}
			buf := make([]byte, 2000)
			for _, d := range append(datagrams(ps[2]), datagrams(ps[3])...) {
				if n, _, err := conn.ReadFromUDPAddrPort(buf); err != nil || !bytes.Equal(buf[:n], d) {
					t.Fatalf("%d bytes, want %d: %v", n, len(d), err)
				}
			}
			if o := s.Offload(); o.Send != nil {
				t.Errorf("offload: %+v", o)
			}
		})
	}
}

// TestRunsWithoutChecksums leave datagram by datagram, and Offload says so.
func TestRunsWithoutChecksums(t *testing.T) {
	w := newWire(t)
	e := bothFamilies()[0]
	s, fd := w.listen(w.left, e, netio.UDPOptions{NoChecksum: true}), w.capture()
	p := run(1440*150+5, 1440)
	p.Remote, p.DF, p.Local = netip.AddrPortFrom(e.to, 4500), true, e.from
	if n, err := s.Send([]datagram.Packet{p}); n != 151 || err != nil {
		t.Fatal(n, err)
	}
	want := datagrams(p)
	for i, f := range w.frames(fd, 151) {
		if !bytes.Equal(f.payload, want[i]) || f.valid {
			t.Fatalf("frame %d: %d bytes, checksum %v", i, len(f.payload), f.valid)
		}
	}
	if o := s.Offload(); o.Send == nil || o.Receive != nil {
		t.Errorf("offload: %+v", o)
	}
	if o := w.listen(w.right, bothFamilies()[1], netio.UDPOptions{NoChecksum: true}).Offload(); o.Send != nil {
		t.Errorf("IPv6 has checksums: %+v", o)
	}
}
