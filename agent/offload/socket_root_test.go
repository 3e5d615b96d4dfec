//go:build linux

package offload

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/netio/nstest"
)

// cable joins two TUNs, each in a namespace of its own:
//
//	a: 10.99.0.1, fd99::1 ─ tun0 ⇄ Splitter ─ every checksum verified ─ Coalescer ⇄ tun0 ─ b: 10.99.0.2, fd99::2
//
// offloads says whether b's TUN has any; without them it gets packet by packet.
type cable struct {
	a, b *nstest.Namespace

	mu              sync.Mutex
	supers, packets int
}

func newCable(t *testing.T, offloads bool) *cable {
	c := &cable{a: nstest.New(t), b: nstest.New(t)}
	a := openDevice(t, c.a, "tun0", "1500", true)
	b := openDevice(t, c.b, "tun0", "1500", offloads)
	for ns, host := range map[*nstest.Namespace]string{c.a: "1", c.b: "2"} {
		ns.Run("ip", "addr", "add", "10.99.0."+host+"/24", "dev", "tun0")
		ns.Run("ip", "addr", "add", "fd99::"+host+"/64", "dev", "tun0", "nodad")
		// The kernel makes the address's local route later; a packet before that would be lost.
		ns.Run("ip", "-6", "route", "replace", "local", "fd99::"+host, "dev", "tun0", "table", "local")
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.carry(t, a, true, b, offloads) })
	wg.Go(func() { c.carry(t, b, offloads, a, true) })
	t.Cleanup(func() { a.Close(); b.Close(); wg.Wait() })
	return c
}

// carry moves packets until from is closed.
func (c *cable) carry(t *testing.T, from *device, fromOffloads bool, to *device, toOffloads bool) {
	room := make([]byte, HeaderLen+70000+Tail)
	var s Splitter
	write := to.emit(t)
	joiner := NewCoalescer(both, write)
	for {
		at := HeaderLen
		clear(room[:HeaderLen])
		if fromOffloads {
			at = 0
		}
		n, err := from.Read(room[at:])
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil {
			t.Errorf("read: %v", err)
			return
		}
		if err := s.Reset(room[:at+n]); err != nil {
			t.Errorf("virtio header %x, packet %x: %v", room[:HeaderLen], room[HeaderLen:HeaderLen+80], err)
			continue
		}
		c.count(s.Count())
		for p, ok := s.Next(); ok; p, ok = s.Next() {
			verify(t, p)
			p = bytes.Clone(p)
			if !toOffloads {
				write([][]byte{p}, 1)
				continue
			}
			joiner.Add(p)
		}
		joiner.Flush()
	}
}

func (c *cable) count(segments int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packets += segments
	if segments > 1 {
		c.supers++
	}
}

// verify checks lengths and checksums of a TCP or UDP packet without options or extension headers before it.
func verify(t *testing.T, p []byte) {
	at, length := 20, int(binary.BigEndian.Uint16(p[2:]))
	if p[0]>>4 == 6 {
		at, length = 40, 40+int(binary.BigEndian.Uint16(p[4:]))
	} else if sum := slowSum(0, p[:20]); sum != 0xffff {
		t.Errorf("IPv4 header sums to %#x: %x", sum, p[:20])
	}
	proto := p[9]
	if p[0]>>4 == 6 {
		proto = p[6]
	}
	if length != len(p) || length > 1500 {
		t.Errorf("%d bytes, length field %d", len(p), length)
	}
	if proto != 6 && proto != 17 {
		return
	}
	if sum := slowSum(pseudoOf(p, at, proto == 17), p[at:]); sum != 0xffff {
		t.Errorf("transport sums to %#x: %x", sum, p[:at+20])
	}
}

// TestKernelTCPThroughSplitter moves a stream from a real socket to a real socket.
func TestKernelTCPThroughSplitter(t *testing.T) {
	for _, offloads := range []bool{false, true} {
		for network, address := range map[string]string{"tcp4": "10.99.0.2:0", "tcp6": "[fd99::2]:0"} {
			c := newCable(t, offloads)
			var listener net.Listener
			var err error
			c.b.Do(func() { listener, err = net.Listen(network, address) })
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			data := randomBytes(rand.New(rand.NewPCG(13, 14)), 8<<20)
			sent := make(chan error, 1)
			go func() { sent <- c.send(network, listener.Addr().String(), data) }()
			conn, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(60 * time.Second))
			got, err := io.ReadAll(conn)
			if err != nil || sha256.Sum256(got) != sha256.Sum256(data) {
				t.Fatalf("%s: %d of %d bytes arrived, or others: %v", network, len(got), len(data), err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			c.mu.Lock()
			if c.supers == 0 {
				t.Errorf("%s: the kernel gave no super-packet", network)
			}
			t.Logf("%s, offloads of the receiver %v: %d super-packets, %d packets", network, offloads, c.supers, c.packets)
			c.mu.Unlock()
		}
	}
}

func (c *cable) send(network, to string, data []byte) error {
	var conn net.Conn
	var err error
	c.a.Do(func() { conn, err = net.DialTimeout(network, to, 5*time.Second) })
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write(data)
	return err
}

// TestKernelUDPThroughSplitter sends with UDP_SEGMENT; each datagram arrives as it was.
func TestKernelUDPThroughSplitter(t *testing.T) {
	for _, offloads := range []bool{false, true} {
		for network, address := range map[string]string{"udp4": "10.99.0.2:0", "udp6": "[fd99::2]:0"} {
			c := newCable(t, offloads)
			var receiver net.PacketConn
			var err error
			c.b.Do(func() { receiver, err = net.ListenPacket(network, address) })
			if err != nil {
				t.Fatal(err)
			}
			defer receiver.Close()
			var sender net.Conn
			c.a.Do(func() { sender, err = net.Dial(network, receiver.LocalAddr().String()) })
			if err != nil {
				t.Fatal(err)
			}
			defer sender.Close()
			r := rand.New(rand.NewPCG(15, 16))
			for _, size := range []int{1, 63, 64, 999, 1400} {
				segments(t, sender, size)
				data := randomBytes(r, 30*size+size/2)
				if _, err := sender.Write(data); err != nil {
					t.Fatal(err)
				}
				sameDatagrams(t, receiver, data, size)
			}
			c.mu.Lock()
			if c.supers != 5 {
				t.Errorf("%s: %d super-packets, want 5", network, c.supers)
			}
			c.mu.Unlock()
		}
	}
}

func segments(t *testing.T, c net.Conn, size int) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, size) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
}

func sameDatagrams(t *testing.T, c net.PacketConn, data []byte, size int) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, 2000)
	for len(data) > 0 {
		n, _, err := c.ReadFrom(b)
		if err != nil {
			t.Fatalf("datagrams of %d bytes, %d bytes yet to come: %v", size, len(data), err)
		}
		want := data[:min(size, len(data))]
		if !bytes.Equal(b[:n], want) {
			t.Fatalf("datagram of %d bytes %x, want %d bytes", n, b[:min(n, 20)], len(want))
		}
		data = data[len(want):]
	}
}
