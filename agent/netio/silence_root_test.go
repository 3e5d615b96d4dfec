//go:build linux

package netio_test

import (
	"net/netip"
	"testing"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/agent/netio"
)

// TestKernelIsSilentWithoutTheAgent: no socket is open for ESP, AH and the port, and nobody is told.
func TestKernelIsSilentWithoutTheAgent(t *testing.T) {
	r := newRoute(t)
	network, _ := appliedIn(t, r.right, netio.Desired{})
	defer network.Close()
	for _, v6 := range []bool{false, true} {
		local, remote := left4, right4
		if v6 {
			local, remote = left6, right6
		}
		for proto, port := range map[uint8]uint16{50: 0, 51: 0, 0: 4500} {
			s, packet := r.sender(t, proto, v6), datagram.Packet{Data: esp(100), Remote: netip.AddrPortFrom(remote, port)}
			if proto != 0 {
				packet.Data = whole(t, proto, local, remote, append([]byte{6, 4, 0, 0}, esp(100)...))
			}
			silent(t, s, packet)
		}
	}
	// Other ports answer as ever.
	v4, _ := r.udp(t, r.left, netio.UDPOptions{})
	if _, err := v4.Send([]datagram.Packet{{Data: esp(100), Remote: netip.AddrPortFrom(right4, 4501)}, {Data: esp(100), Remote: netip.AddrPortFrom(right4, 4501), DF: true}}); err != nil {
		t.Fatal(err)
	}
	if e := pathError(t, v4); e.Offender != right4 {
		t.Errorf("port 4501: %+v", e)
	}
}

// sender is the left end's socket for a protocol; 0 is UDP.
func (r *route) sender(t *testing.T, proto uint8, v6 bool) socket {
	t.Helper()
	if proto == 0 {
		s4, s6 := r.udp(t, r.left, netio.UDPOptions{})
		if v6 {
			s4.Close()
			return s6
		}
		s6.Close()
		return s4
	}
	s4, s6 := r.raw(t, r.left, proto)
	if v6 {
		return s6
	}
	return s4
}

// silent sends a packet and waits whether anybody says something.
func silent(t *testing.T, s socket, packet datagram.Packet) {
	t.Helper()
	defer s.Close()
	packet.DF = true
	if _, err := s.Send([]datagram.Packet{packet}); err != nil {
		t.Fatal(err)
	}
	heard := make(chan datagram.PathError, 1)
	go func() {
		for {
			if _, err := s.Recv(make([]datagram.Packet, 1)); err != nil {
				return
			}
			s.PathErrors(func(e datagram.PathError) { heard <- e })
		}
	}()
	select {
	case e := <-heard:
		t.Errorf("to %v it was said: %+v", packet.Remote, e)
	case <-time.After(300 * time.Millisecond):
	}
}
