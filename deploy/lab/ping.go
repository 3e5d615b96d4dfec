//go:build linux

package lab

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Pings is what became of a series of echo requests.
type Pings struct{ Sent, Received int }

// Lost is the number of requests without an answer.
func (p Pings) Lost() int { return p.Sent - p.Received }

func (p Pings) String() string { return fmt.Sprintf("%d sent, %d lost", p.Sent, p.Lost()) }

const (
	pingEvery = 50 * time.Millisecond
	// pingLinger is how late the last answer may come. ping(8) waits for two round trips only, which on
	// a busy machine counts answers as lost that are on their way.
	pingLinger = 2 * time.Second
	// maxSeq bounds a series: sequence numbers have 16 bits.
	maxSeq = 1<<16 - 1
)

// Ping sends count echo requests from a node and waits for their answers.
func (l *Lab) Ping(ctx context.Context, node string, to netip.Addr, count int) (Pings, error) {
	p, err := l.startPing(ctx, node, to, pingEvery, count)
	if err != nil {
		return Pings{}, err
	}
	<-p.sent
	return p.Stop()
}

// StartPing begins to ping from a node, every 20 ms.
func (l *Lab) StartPing(ctx context.Context, node string, to netip.Addr) (*Pinger, error) {
	return l.startPing(ctx, node, to, 20*time.Millisecond, maxSeq)
}

// Pinger is a series of echo requests under way.
type Pinger struct {
	echo  echo
	conn  *icmp.PacketConn
	stop  context.CancelFunc
	sent  chan struct{} // closed after the last request
	count int           // sent; valid after sent is closed
	err   error         // likewise

	mu       sync.Mutex
	answered map[int]bool
	news     chan struct{} // an answer has come
}

func (l *Lab) startPing(ctx context.Context, node string, to netip.Addr, every time.Duration, count int) (*Pinger, error) {
	conn, err := l.echoSocket(node, to)
	if err != nil {
		return nil, fmt.Errorf("lab: ping from %s: %w", node, err)
	}
	ctx, stop := context.WithCancel(ctx)
	p := &Pinger{
		echo: newEcho(to), conn: conn, stop: stop, sent: make(chan struct{}),
		answered: make(map[int]bool), news: make(chan struct{}, 1),
	}
	go p.receive()
	go p.send(ctx, every, count)
	return p, nil
}

func (p *Pinger) send(ctx context.Context, every time.Duration, count int) {
	defer close(p.sent)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for p.count < count {
		if p.err = p.echo.send(p.conn, p.count+1); p.err != nil {
			return
		}
		p.count++
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *Pinger) receive() {
	buf := make([]byte, 1500)
	for {
		n, from, err := p.conn.ReadFrom(buf)
		if err != nil {
			return // closed
		}
		seq, ok := p.echo.answer(buf[:n], from)
		if !ok {
			continue
		}
		p.mu.Lock()
		p.answered[seq] = true
		p.mu.Unlock()
		select {
		case p.news <- struct{}{}:
		default:
		}
	}
}

// Stop ends the series and waits for answers that are on their way.
func (p *Pinger) Stop() (Pings, error) {
	p.stop()
	<-p.sent
	defer p.conn.Close()
	late := time.NewTimer(pingLinger)
	defer late.Stop()
	for {
		p.mu.Lock()
		pings := Pings{Sent: p.count, Received: len(p.answered)}
		p.mu.Unlock()
		if pings.Lost() == 0 || p.err != nil {
			return pings, p.err
		}
		select {
		case <-p.news:
		case <-late.C:
			return pings, nil
		}
	}
}

// echoSocket opens a raw ICMP socket inside a node.
func (l *Lab) echoSocket(node string, to netip.Addr) (conn *icmp.PacketConn, err error) {
	err = l.within(node, func() (err error) {
		if to.Is4() {
			conn, err = icmp.ListenPacket("ip4:icmp", "0.0.0.0")
		} else {
			conn, err = icmp.ListenPacket("ip6:ipv6-icmp", "::")
		}
		return err
	})
	return conn, err
}

// echo is one series of requests.
type echo struct {
	to       netip.Addr
	id       int
	request  icmp.Type
	reply    icmp.Type
	protocol int // IANA's number, as package icmp wants it
}

func newEcho(to netip.Addr) echo {
	var id [2]byte
	rand.Read(id[:])
	e := echo{to: to, id: int(binary.BigEndian.Uint16(id[:])), request: ipv4.ICMPTypeEcho, reply: ipv4.ICMPTypeEchoReply, protocol: 1}
	if to.Is6() {
		e.request, e.reply, e.protocol = ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, 58
	}
	return e
}

// send sends one request. One that the kernel refuses, for want of a route or by a rule, is lost.
func (e echo) send(conn *icmp.PacketConn, seq int) error {
	m := icmp.Message{Type: e.request, Body: &icmp.Echo{ID: e.id, Seq: seq, Data: make([]byte, 56)}}
	raw, err := m.Marshal(nil) // of ICMPv6, the kernel fills the checksum in
	if err != nil {
		return err
	}
	_, err = conn.WriteTo(raw, &net.IPAddr{IP: e.to.AsSlice()})
	if refusal := (*net.OpError)(nil); errors.As(err, &refusal) {
		return nil
	}
	return err
}

// answer reads a packet; ok when it answers a request of this series.
func (e echo) answer(packet []byte, from net.Addr) (seq int, ok bool) {
	m, err := icmp.ParseMessage(e.protocol, packet)
	if err != nil || m.Type != e.reply {
		return 0, false
	}
	source, isIP := from.(*net.IPAddr)
	body, isEcho := m.Body.(*icmp.Echo)
	if !isIP || !isEcho || body.ID != e.id || !source.IP.Equal(net.IP(e.to.AsSlice())) {
		return 0, false
	}
	return body.Seq, true
}
