//go:build linux

package netio

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/datagram"
)

// kernel stands in front of the real one and refuses runs, as kernels, drivers and policies do that this host has not.
type kernel struct {
	refuse func(segments int) error
	runs   int // that came to it
}

// loopback is a socket whose runs k sees, and another program's. The socket's clock is now.
func loopback(t *testing.T, k *kernel, now *time.Time) (*UDPSocket, *net.UDPConn) {
	t.Helper()
	s, v6, err := ListenUDP(UDPOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if v6 != nil {
		v6.Close()
	}
	t.Cleanup(func() { s.Close() })
	s.segmentation.now = func() time.Time { return *now }
	for _, o := range []*outgoing{s.out, s.single} {
		o.call = k.stand(o, o.call)
	}
	peer, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err == nil {
		err = peer.SetReadDeadline(time.Now().Add(10 * time.Second))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	return s, peer
}

// stand makes a call that gives the real one the messages before the first run that is refused.
func (k *kernel) stand(o *outgoing, call func(int) bool) func(int) bool {
	return func(fd int) bool {
		for i := o.first; i < o.last; i++ {
			c := &o.pieces[i]
			if c.segment == 0 {
				continue
			}
			k.runs++
			err := k.refuse(c.count())
			switch {
			case err != nil && i == o.first:
				o.n, o.err = 0, err
				return true
			case err != nil:
				o.last = i
			}
		}
		return call(fd)
	}
}

// sendRun sends a run of n datagrams of 10 bytes between two datagrams, and checks that all arrive in order.
func sendRun(t *testing.T, s *UDPSocket, peer *net.UDPConn, n int) {
	t.Helper()
	data := bytes.Repeat([]byte("0123456789"), n)
	for i := range n {
		data[i*10], data[i*10+1] = byte(i), byte(i>>8)
	}
	to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	ps := []datagram.Packet{{Data: []byte("before"), Remote: to, DF: true},
		{Data: data, Segment: 10, Remote: to, DF: true}, {Data: []byte("behind"), Remote: to, DF: true}}
	if sent, err := s.Send(ps); sent != n+2 || err != nil || ps[1].Err != nil {
		t.Errorf("%d of %d left: %v, %v", sent, n+2, err, ps[1].Err)
	}
	want := [][]byte{[]byte("before")}
	for i := range n {
		want = append(want, data[i*10:i*10+10])
	}
	buf := make([]byte, 100)
	for i, d := range append(want, []byte("behind")) {
		if k, err := peer.Read(buf); err != nil || !bytes.Equal(buf[:k], d) {
			t.Fatalf("datagram %d: %q, %v", i, buf[:k], err)
		}
	}
}

// TestRefusedRunsLeaveApart, and are not tried again for a while.
func TestRefusedRunsLeaveApart(t *testing.T) {
	for _, why := range []error{unix.EIO, unix.EINVAL, unix.EOPNOTSUPP, unix.ENOPROTOOPT} {
		t.Run(why.Error(), func(t *testing.T) {
			k, now := &kernel{refuse: func(int) error { return why }}, time.Now()
			s, peer := loopback(t, k, &now)
			sendRun(t, s, peer, 5)
			if o := s.Offload(); !errors.Is(o.Send, why) || k.runs == 0 {
				t.Errorf("offload %+v after %d runs", o, k.runs)
			}
			k.runs = 0
			now = now.Add(segmentationPause - 1)
			if sendRun(t, s, peer, 100); k.runs != 0 {
				t.Errorf("%d runs tried", k.runs)
			}
			now = now.Add(1)
			if sendRun(t, s, peer, 5); k.runs == 0 || s.Offload().Send == nil {
				t.Errorf("%d runs tried, offload %+v", k.runs, s.Offload())
			}
			k.refuse, now = func(int) error { return nil }, now.Add(segmentationPause)
			if sendRun(t, s, peer, 5); s.Offload().Send != nil {
				t.Errorf("offload %+v", s.Offload())
			}
		})
	}
}

// TestKernelsOfFewSegments: 64 is all that they take, or less.
func TestKernelsOfFewSegments(t *testing.T) {
	k, now := &kernel{refuse: func(segments int) error {
		if segments > fewSegments {
			return unix.EINVAL
		}
		return nil
	}}, time.Now()
	s, peer := loopback(t, k, &now)
	sendRun(t, s, peer, 100)
	k.runs = 0
	sendRun(t, s, peer, 130)
	if o := s.Offload(); o.Send != nil || k.runs != 3 {
		t.Errorf("offload %+v, %d runs", o, k.runs)
	}
}

// TestForgedErrorsDoNotRefuseRuns: an ICMP message's error comes once and is nobody's own.
func TestForgedErrorsDoNotRefuseRuns(t *testing.T) {
	for _, why := range []error{unix.ECONNREFUSED, unix.EMSGSIZE, unix.EINVAL} {
		now, times := time.Now(), 0
		s, peer := loopback(t, &kernel{refuse: func(int) error {
			if times++; times == 1 {
				return why
			}
			return nil
		}}, &now)
		if sendRun(t, s, peer, 100); times != 2 || s.Offload().Send != nil || s.segmentation.most != mostSegments {
			t.Errorf("%v: tried %d times, offload %+v", why, times, s.Offload())
		}
	}
}

// TestRunsThatNobodyRoutes have the error that a datagram has, and what comes behind leaves.
func TestRunsThatNobodyRoutes(t *testing.T) {
	k, now := &kernel{refuse: func(int) error { return unix.ENETUNREACH }}, time.Now()
	s, peer := loopback(t, k, &now)
	to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
	ps := []datagram.Packet{{Data: make([]byte, 2000), Segment: 10, Remote: to, DF: true}, {Data: []byte("behind"), Remote: to, DF: true},
		{Data: make([]byte, 20), Segment: 10, Remote: netip.MustParseAddrPort("[::1]:9"), DF: true}}
	if n, err := s.Send(ps); n != 1 || !errors.Is(err, datagram.ErrFamily) || !errors.Is(ps[0].Err, unix.ENETUNREACH) || ps[1].Err != nil || !errors.Is(ps[2].Err, datagram.ErrFamily) {
		t.Errorf("%d left: %v; %v, %v, %v", n, err, ps[0].Err, ps[1].Err, ps[2].Err)
	}
	if s.Offload().Send != nil {
		t.Errorf("offload %+v", s.Offload())
	}
}

// TestRunsOfAClosedSocket end at once.
func TestRunsOfAClosedSocket(t *testing.T) {
	now := time.Now()
	s, peer := loopback(t, &kernel{refuse: func(int) error { return nil }}, &now)
	s.Close()
	ps := []datagram.Packet{{Data: make([]byte, 2000), Segment: 10, Remote: peer.LocalAddr().(*net.UDPAddr).AddrPort(), DF: true}}
	if n, err := s.Send(ps); n != 0 || !errors.Is(err, net.ErrClosed) || !errors.Is(ps[0].Err, net.ErrClosed) {
		t.Errorf("%d left, %v, %v", n, err, ps[0].Err)
	}
}

func TestReach(t *testing.T) {
	for _, c := range []struct{ length, segment, rest, segments, want int }{
		{0, 0, 0, 128, 0}, {70000, 0, 70000, 128, 70000}, {100, 100, 100, 128, 100}, {100, 200, 100, 128, 100}, // one datagram
		{2881, 1440, 2881, 128, 2881}, {2881, 1440, 2881, 1, 1440}, {2881, 1440, 1, 1, 1},
		{1280, 10, 1280, 128, 1280}, {1281, 10, 1281, 128, 1280}, {1280, 10, 1280, fewSegments, 630},
		{longestRun, 1400, longestRun, 128, longestRun}, {longestRun + 1, 1400, longestRun + 1, 128, 64400},
		{200000, 70000, 200000, 128, 70000}, {100, -1, 100, 128, 100},
	} {
		if got := reach(&datagram.Packet{Data: make([]byte, c.length), Segment: c.segment}, c.rest, c.segments); got != c.want {
			t.Errorf("of %d by %d, with %d left, in at most %d segments: %d, want %d", c.length, c.segment, c.rest, c.segments, got, c.want)
		}
	}
}
