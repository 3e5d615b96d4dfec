package rpc

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc"
)

// closedSoon reports whether the other end closes the connection.
func closedSoon(t *testing.T, conn net.Conn) bool {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestLimitListener(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLimitListener(tcp, 10, 2)
	defer l.Close()
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	open := func() net.Conn {
		conn, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	open()
	first := <-accepted
	open()
	<-accepted
	if !closedSoon(t, open()) {
		t.Error("a third connection was kept")
	}
	first.Close()
	first.Close() // releases once
	open()
	select {
	case <-accepted:
	case <-time.After(10 * time.Second):
		t.Error("a closed connection still counts")
	}
	if !closedSoon(t, open()) {
		t.Error("a connection was released twice")
	}
}

func TestLimitTotal(t *testing.T) {
	l := newLimitListener(nil, 2, 2)
	a, b, c := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.3")
	if !l.take(a) || !l.take(b) || l.take(c) {
		t.Error("the total does not hold")
	}
	l.release(a)
	l.release(b)
	if len(l.byAddr) != 0 || l.open != 0 {
		t.Errorf("left: %v, %d", l.byAddr, l.open)
	}
}

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":          "192.0.2.1",
		"2001:db8:1:2:3::4":  "2001:db8:1:2::",
		"fe80::1%eth0":       "fe80::",
		"2001:db8:1:2::ffff": "2001:db8:1:2::",
	} {
		if got := network(netip.MustParseAddr(in)); got != netip.MustParseAddr(want) {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// TestSilentConnectionIsClosed: who does not begin a handshake loses the connection.
func TestSilentConnectionIsClosed(t *testing.T) {
	r := newRig(t, Limits{Handshake: 50 * time.Millisecond})
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is open still")
	}
}

func TestNewRefusesAWeakConfiguration(t *testing.T) {
	weak := serverTLS(t)
	weak.MinVersion = 0
	unasked := serverTLS(t)
	unasked.ClientAuth = 0
	nothing := func(grpc.ServiceRegistrar) {}
	good := Config{Auth: &fakeAuth{}, TLS: serverTLS(t), Register: nothing}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"TLS 1.2":                {Auth: good.Auth, TLS: weak, Register: nothing},
		"no client certificates": {Auth: good.Auth, TLS: unasked, Register: nothing},
		"no authenticator":       {TLS: good.TLS, Register: nothing},
		"no services":            {Auth: good.Auth, TLS: good.TLS},
		"no TLS":                 {Auth: good.Auth, Register: nothing},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
