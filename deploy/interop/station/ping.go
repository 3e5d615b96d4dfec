//go:build linux

package station

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Echo is one ICMP echo request, with Size bytes behind its header as `ping -s` counts them.
type Echo struct {
	Source, Destination netip.Addr
	Size                int
	Secret              bool
	Timeout             time.Duration
}

// Answered is how long the answer took.
type Answered struct{ After time.Duration }

// Ping sends one echo request and waits for the answer with the same content. A lost packet is an error.
func (s *Station) Ping(e Echo, out *Answered) error {
	network, proto := "ip4:icmp", 1
	var kind, want icmp.Type = ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply
	if e.Destination.Is6() {
		network, proto = "ip6:ipv6-icmp", 58
		kind, want = ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply
	}
	s.mu.Lock()
	s.echo++
	id := s.echo
	s.mu.Unlock()
	conn, err := net.ListenPacket(network, e.Source.String())
	if err != nil {
		return fmt.Errorf("station: %w", err)
	}
	defer conn.Close()
	body := &icmp.Echo{ID: int(id), Seq: 1, Data: content(e.Size, e.Secret, uint64(id)<<32)}
	request, err := (&icmp.Message{Type: kind, Body: body}).Marshal(nil)
	if err != nil {
		return fmt.Errorf("station: %w", err)
	}
	begin := time.Now()
	if err := conn.SetDeadline(begin.Add(e.Timeout)); err != nil {
		return fmt.Errorf("station: %w", err)
	}
	if _, err := conn.WriteTo(request, &net.IPAddr{IP: e.Destination.AsSlice()}); err != nil {
		return fmt.Errorf("station: send an echo of %d bytes: %w", e.Size, err)
	}
	buf := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFrom(buf)
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			return fmt.Errorf("station: no answer to an echo of %d bytes within %v", e.Size, e.Timeout)
		} else if err != nil {
			return fmt.Errorf("station: %w", err)
		}
		answer, err := icmp.ParseMessage(proto, buf[:n])
		if err != nil || answer.Type != want {
			continue
		}
		got, ok := answer.Body.(*icmp.Echo)
		if !ok || got.ID != body.ID || from.String() != e.Destination.String() {
			continue
		}
		if !bytes.Equal(got.Data, body.Data) {
			return fmt.Errorf("station: the answer to an echo of %d bytes differs from it", e.Size)
		}
		out.After = time.Since(begin)
		return nil
	}
}
