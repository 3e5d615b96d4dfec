package rpc

import (
	"net"
	"net/netip"
	"sync"
)

// limitListener refuses connections above a total and above a number per remote address. It closes
// them at once: to leave them in the backlog would let one address shut all others out.
type limitListener struct {
	net.Listener
	total, perAddr int

	mu     sync.Mutex
	open   int
	byAddr map[netip.Addr]int
}

func newLimitListener(l net.Listener, total, perAddr int) *limitListener {
	return &limitListener{Listener: l, total: total, perAddr: perAddr, byAddr: make(map[netip.Addr]int)}
}

// Accept implements net.Listener.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := network(addrPort(conn.RemoteAddr()).Addr())
		if l.take(addr) {
			return &limitedConn{Conn: conn, release: sync.OnceFunc(func() { l.release(addr) })}, nil
		}
		_ = conn.Close()
	}
}

func (l *limitListener) take(addr netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.total || l.byAddr[addr] >= l.perAddr {
		return false
	}
	l.open++
	l.byAddr[addr]++
	return true
}

func (l *limitListener) release(addr netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.byAddr[addr]--; l.byAddr[addr] == 0 {
		delete(l.byAddr, addr)
	}
}

// network is what one person has: an IPv4 address, or an IPv6 /64.
func network(a netip.Addr) netip.Addr {
	if a.Is6() {
		p, _ := a.WithZone("").Prefix(64)
		return p.Addr()
	}
	return a
}

type limitedConn struct {
	net.Conn
	release func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
