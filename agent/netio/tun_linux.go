package netio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/offload"
)

// TUN is a TUN device with segmentation offload, both ways: what one call of Read or Write moves may stand for many
// segments of one flow. Close removes the device.
type TUN struct {
	*descriptor
	name     string
	features offload.Features

	in      vector // the reader's
	writing sync.Mutex
	out     vector
}

// OpenTUN creates the device. It goes away with the process.
func OpenTUN(name string, mtu int) (*TUN, error) {
	if mtu < 1280 || mtu > 65535 {
		return nil, fmt.Errorf("netio: MTU %d: want 1280 (IPv6's least) to 65535", mtu)
	}
	t, err := openTUN(name, mtu)
	if err != nil {
		return nil, fmt.Errorf("netio: open TUN %s: %w%s", name, err, tunAdvice(err))
	}
	return t, nil
}

func openTUN(name string, mtu int) (*TUN, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	t := new(TUN)
	if t.name, err = attach(fd, name); err != nil {
		unix.Close(fd)
		return nil, err
	}
	t.features = setTUNOffload(fd)
	if t.descriptor, err = newDescriptor(fd); err != nil {
		return nil, err
	}
	if err := setLink(t.name, mtu); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.in.init(unix.SYS_READV)
	t.out.init(unix.SYS_WRITEV)
	return t, nil
}

// attach makes the device: whole IP packets, each behind a virtio header.
func attach(fd int, name string) (string, error) {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return "", err
	}
	ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
		return "", err
	}
	return ifr.Name(), unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, offload.HeaderLen)
}

// setTUNOffload turns on as much as the kernel has: USO came with Linux 6.2.
func setTUNOffload(fd int) offload.Features {
	const tcp = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6
	if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tcp|unix.TUN_F_USO4|unix.TUN_F_USO6) == nil {
		return offload.Features{TCP: true, UDP: true, AtomicID: true}
	}
	if unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tcp) == nil {
		return offload.Features{TCP: true, AtomicID: true}
	}
	return offload.Features{}
}

// queueLen is how many packets wait in the device for the agent: those that come while it has no processor for a few
// milliseconds. The kernel's 500 lose small packets then.
const queueLen = 2048

// setLink sets the device's MTU and queue.
func setLink(name string, mtu int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetTxQLen(link, queueLen); err != nil {
		return err
	}
	return netlink.LinkSetMTU(link, mtu)
}

// tunAdvice says what an operator can do about err.
func tunAdvice(err error) string {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return ": the agent needs CAP_NET_ADMIN and access to /dev/net/tun: start it as root or by its systemd unit"
	case errors.Is(err, unix.EBUSY):
		return ": another process has this device: is an agent running already? (or choose another TUN name)"
	}
	if _, missing := os.Stat("/dev/net/tun"); errors.Is(missing, fs.ErrNotExist) ||
		errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		return ": the kernel's TUN driver is missing: run `modprobe tun`; in a container, give it /dev/net/tun"
	}
	return ""
}

// Name is the device's name.
func (t *TUN) Name() string { return t.name }

// Features are what the device takes joined.
func (t *TUN) Features() offload.Features { return t.features }

// Read takes one packet or super-packet, its virtio header in front, into b, and returns its length. It waits for one,
// or returns 0 at once if wait is false and there is none. One goroutine at a time. After Close the error is
// net.ErrClosed; any other concerns one packet only.
func (t *TUN) Read(b []byte, wait bool) (int, error) {
	t.in.iovecs = append(t.in.iovecs[:0], iovec(b))
	t.in.wait = wait
	n, err := t.in.move(t.descriptor, unix.POLLIN)
	if n < offload.HeaderLen {
		return 0, err
	}
	return n, err
}

// Write gives the kernel one packet or super-packet, in pieces; the first begins with the virtio header.
func (t *TUN) Write(pieces [][]byte) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.out.iovecs = t.out.iovecs[:0]
	for _, p := range pieces {
		t.out.iovecs = append(t.out.iovecs, iovec(p))
	}
	t.out.wait = true
	_, err := t.out.move(t.descriptor, unix.POLLOUT)
	return err
}

// maxPieces is more than what Write is given: a header and the segments of a super-packet.
const maxPieces = 256

// vector is the memory of readv or writev calls.
type vector struct {
	iovecs []unix.Iovec
	wait   bool
	vain   bool              // the last call found nothing to read
	call   func(fd int) bool // bound once: a new closure would be an allocation per call
	n      int
	err    error
}

// init makes room for a full super-packet. The call does not block, so that a raw system call holds up nobody.
func (v *vector) init(trap uintptr) {
	v.iovecs = make([]unix.Iovec, 0, maxPieces)
	v.call = func(fd int) bool {
		for {
			n, _, errno := unix.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(v.iovecs))), uintptr(len(v.iovecs)))
			switch errno {
			case 0:
				v.n, v.err = int(n), nil
				return true
			case unix.EINTR:
			case unix.EAGAIN:
				v.n, v.err, v.vain = 0, nil, true
				return !v.wait
			default:
				v.n, v.err = 0, errno
				return true
			}
		}
	}
}

// move does the call as soon as the descriptor is ready, and drops the references to the caller's memory.
func (v *vector) move(d *descriptor, events int16) (int, error) {
	vain := v.vain && v.wait
	v.vain = false
	err := d.do(events, v.call, nil, vain)
	clear(v.iovecs)
	if err != nil {
		return 0, err
	}
	return v.n, v.err
}

func iovec(b []byte) (v unix.Iovec) {
	v.Base = unsafe.SliceData(b)
	v.SetLen(len(b))
	return v
}
