//go:build linux

package datapath_test

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// stream sends 4 MiB over TCP from local to port 7000 of remote, and compares what arrives.
func stream(t *testing.T, from, to *host, local, remote string) {
	t.Helper()
	transfer(t, from, to, &net.TCPAddr{IP: net.ParseIP(local)}, net.JoinHostPort(remote, "7000"), 4<<20, 30*time.Second)
}

// transfer sends size bytes over TCP from local, or whence the kernel likes if that is nil, to remote, and compares
// what arrives. Sending has until patience is over; took is the time from the first byte to the last one's arrival.
func transfer(t *testing.T, from, to *host, local net.Addr, remote string, size int64, patience time.Duration) (took time.Duration) {
	t.Helper()
	var listener net.Listener
	var err error
	to.Do(func() { listener, err = net.Listen("tcp", remote) })
	must(t, err)
	defer listener.Close()
	sum := make(chan [32]byte, 1)
	go func() {
		defer close(sum)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		h := sha256.New()
		if n, err := io.Copy(h, conn); n == size && err == nil {
			sum <- [32]byte(h.Sum(nil))
		}
	}()
	var conn net.Conn
	dialer := net.Dialer{Timeout: 10 * time.Second, LocalAddr: local}
	from.Do(func() { conn, err = dialer.Dial("tcp", remote) })
	must(t, err)
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	h := sha256.New()
	begin := time.Now()
	_, err = io.CopyN(io.MultiWriter(conn, h), rand.NewChaCha8([32]byte{}), size)
	must(t, err, conn.Close())
	if got, ok := <-sum; !ok || got != [32]byte(h.Sum(nil)) {
		t.Errorf("%s: the stream was not received as sent; drops %v, %v; counters %+v, %+v",
			remote, dropped(from), dropped(to), from.dp.Counters(), to.dp.Counters())
	}
	return time.Since(begin)
}
