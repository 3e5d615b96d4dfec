package netio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

// TUNHeadroom is the number of bytes that must lie free before each packet given to Write: the
// virtio-net header is written there.
const TUNHeadroom = 16

// TUN is a TUN device with segmentation offload: one read can give many packets.
type TUN struct {
	dev  tun.Device
	name string
	done chan struct{} // closed when drainEvents has ended
}

// OpenTUN creates the device. It goes away with the process.
func OpenTUN(name string, mtu int) (*TUN, error) {
	if mtu < 1280 || mtu > 65535 {
		return nil, fmt.Errorf("netio: MTU %d: want 1280 (IPv6's least) to 65535", mtu)
	}
	dev, err := tun.CreateTUN(name, mtu)
	if err != nil {
		return nil, fmt.Errorf("netio: open TUN %s: %w%s", name, err, tunAdvice(err))
	}
	actual, err := dev.Name()
	if err != nil {
		dev.Close()
		return nil, fmt.Errorf("netio: open TUN %s: %w", name, err)
	}
	t := &TUN{dev: dev, name: actual, done: make(chan struct{})}
	go t.drainEvents()
	return t, nil
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

// drainEvents ends when the device is closed. Nobody wants the events, but a full channel would stop
// the device's listener for ever.
func (t *TUN) drainEvents() {
	defer close(t.done)
	for range t.dev.Events() {
	}
}

// Name is the device's name.
func (t *TUN) Name() string { return t.name }

// BatchSize is how many buffers Read must be given.
func (t *TUN) BatchSize() int { return t.dev.BatchSize() }

// Read waits for packets and puts them at offset into bufs, their lengths into sizes. One goroutine
// at a time. After Close the error is os.ErrClosed; any other error concerns one packet only.
func (t *TUN) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	n, err := t.dev.Read(bufs, sizes, offset)
	if errors.Is(err, tun.ErrTooManySegments) {
		return n, nil // the first n segments are good
	}
	return n, err
}

// Write gives packets to the kernel; each lies in bufs[i][offset:], with offset at least
// TUNHeadroom. It changes the buffers: TCP and UDP segments of one flow are joined there.
func (t *TUN) Write(bufs [][]byte, offset int) (int, error) { return t.dev.Write(bufs, offset) }

// Close removes the device.
func (t *TUN) Close() error {
	err := t.dev.Close()
	<-t.done
	return err
}
