//go:build linux

package offload

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/netio/nstest"
)

// device is a TUN in a namespace, with virtio headers and all offloads, or with neither.
type device struct {
	*os.File
	raw syscall.RawConn
}

const allOffloads = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN | unix.TUN_F_USO4 | unix.TUN_F_USO6

func openDevice(t *testing.T, ns *nstest.Namespace, name, mtu string, offloads bool) *device {
	t.Helper()
	var fd int
	var err error
	ns.Do(func() { fd, err = attach(name, offloads) })
	if err != nil {
		t.Fatalf("open TUN %s: %v", name, err)
	}
	file := os.NewFile(uintptr(fd), name)
	t.Cleanup(func() { file.Close() })
	raw, err := file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	d := &device{file, raw}
	ns.Run("ip", "link", "set", name, "mtu", mtu, "up", "txqueuelen", "5000")
	return d
}

func attach(name string, offloads bool) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if offloads {
		flags |= unix.IFF_VNET_HDR
	}
	request.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return 0, err
	}
	if offloads {
		return fd, unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, allOffloads)
	}
	return fd, nil
}

// emit writes what a Coalescer gives, in one piece, until the device is closed.
func (d *device) emit(t *testing.T) func([][]byte, int) {
	return func(pieces [][]byte, packets int) {
		var err error
		closed := d.raw.Control(func(fd uintptr) { _, err = unix.Writev(int(fd), pieces) })
		if err != nil && closed == nil {
			t.Errorf("the kernel refuses %d packets, virtio header %x: %v", packets, pieces[0], err)
		}
	}
}

// next reads one packet, not of ICMPv6, which the kernel sends of its own.
func (d *device) next(b []byte) (int, error) {
	for {
		n, err := d.Read(b)
		if err != nil || b[0]>>4 != 6 || b[6] != 58 && b[6] != 0 {
			return n, err
		}
	}
}

// TestKernelSegmentsLikeTheSplitter has the kernel cut the Coalescer's aggregates: what comes out are the packets that
// went in, a hop further.
//
//	Coalescer ──▶ in0, all offloads ──▶ the kernel forwards ──▶ out0, no offloads ──▶ compared
func TestKernelSegmentsLikeTheSplitter(t *testing.T) {
	ns := nstest.New(t)
	ns.Run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
		"net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
	in := openDevice(t, ns, "in0", "9000", true)
	out := openDevice(t, ns, "out0", "9000", false)
	ns.Run("ip", "route", "add", "10.98.0.0/16", "dev", "out0")
	ns.Run("ip", "route", "add", "10.99.0.0/16", "dev", "in0")
	ns.Run("ip", "route", "add", "fd98::/16", "dev", "out0")
	ns.Run("ip", "route", "add", "fd99::/16", "dev", "in0")
	r := rand.New(rand.NewPCG(11, 12))
	joined := 0
	for range 300 {
		list := forwardable(r)
		var copies [][]byte
		emits := 0
		write := in.emit(t)
		c := NewCoalescer(both, func(pieces [][]byte, packets int) { emits++; write(pieces, packets) })
		for _, p := range list {
			copies = append(copies, bytes.Clone(p))
			c.Add(copies[len(copies)-1])
		}
		c.Flush()
		joined += len(list) - emits
		got := receive(t, out, len(list))
		for i := range list {
			hop(list[i])
		}
		sameByFlow(t, got, list)
		if t.Failed() {
			return
		}
	}
	if joined < 5000 {
		t.Errorf("only %d packets were joined to others", joined)
	}
}

// forwardable is a burst of a few flows that a router forwards as they are.
func forwardable(r *rand.Rand) (list [][]byte) {
	for range 1 + r.IntN(3) {
		x := randomSpec(r, 0)
		x.ipOptions, x.extension, x.flags = nil, nil, tcpACK
		x.ttl |= 2
		size := []int{1 + r.IntN(8), 1 + r.IntN(100), 512, 1400, 1 + r.IntN(8000)}[r.IntN(5)]
		for _, y := range stream(x, 1+r.IntN(140), size) {
			vary(&y, r.IntN(200), r)
			p := y.packet()
			if r.IntN(100) == 0 && len(y.payload) > 0 {
				p[len(p)-1]++
			}
			list = append(list, p)
		}
	}
	return list
}

// vary changes one thing, or nothing, by which a packet differs from those around it.
func vary(x *spec, what int, r *rand.Rand) {
	changes := []func(){
		func() { x.flags = uint8(r.Uint32()) },
		func() { x.flags |= tcpPSH },
		func() { x.flags |= tcpCWR },
		func() { x.payload = x.payload[:r.IntN(len(x.payload))] },
		func() { x.payload = append(x.payload, 1) },
		func() { x.ack++ },
		func() { x.seq++ },
		func() { x.window++ },
		func() { x.urgent++ },
		func() { x.reserved ^= 1 },
		func() { x.tcpOptions = randomBytes(r, len(x.tcpOptions)) },
		func() { x.tos ^= 1 << r.IntN(8) },
		func() { x.ttl |= 128 },
		func() { x.df = !x.df },
		func() { x.id += uint16(r.IntN(3)) },
		func() { x.label ^= 1 },
	}
	if what < len(changes) {
		changes[what]()
	}
}

// hop makes p what a router sends on.
func hop(p []byte) {
	if p[0]>>4 == 6 {
		p[7]--
		return
	}
	p[8]--
	p[10], p[11] = 0, 0
	binary.BigEndian.PutUint16(p[10:], ^uint16(slowSum(0, p[:20])))
}

func receive(t *testing.T, d *device, n int) (out [][]byte) {
	t.Helper()
	d.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, 70000)
	for len(out) < n {
		k, err := d.next(b)
		if err != nil {
			t.Fatalf("after %d of %d packets: %v", len(out), n, err)
		}
		out = append(out, bytes.Clone(b[:k]))
	}
	return out
}
