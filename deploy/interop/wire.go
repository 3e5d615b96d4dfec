//go:build linux

package interop

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Wire reads every frame of a link. Close it.
type Wire struct {
	fd   int
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex
	seen    Seen
	capture *pcap // nil when nothing is recorded
}

// wireBuffer is the socket's, bytes: a second of everything that the guest can send.
const wireBuffer = 64 << 20

// OpenWire reads device, in the calling thread's network namespace.
func OpenWire(device string) (*Wire, error) {
	link, err := net.InterfaceByName(device)
	if err != nil {
		return nil, fmt.Errorf("interop: %w", err)
	}
	everything := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("interop: packet socket: %w", err)
	}
	// The timeout lets the loop see stop.
	timeout := unix.NsecToTimeval((100 * time.Millisecond).Nanoseconds())
	if err := errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, wireBuffer),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: everything, Ifindex: link.Index}),
	); err != nil {
		return nil, errors.Join(fmt.Errorf("interop: packet socket: %w", err), unix.Close(fd))
	}
	w := &Wire{fd: fd, stop: make(chan struct{}), done: make(chan struct{}), seen: newSeen()}
	go w.read()
	return w, nil
}

func (w *Wire) read() {
	defer close(w.done)
	frame := make([]byte, 1<<16)
	for {
		select {
		case <-w.stop:
			return
		default:
		}
		n, _, err := unix.Recvfrom(w.fd, frame, 0)
		if err != nil {
			continue // nothing came, or the device is going
		}
		w.mu.Lock()
		w.seen.add(frame[:n])
		if w.capture != nil {
			w.capture.add(frame[:n], time.Now())
		}
		w.mu.Unlock()
	}
}

// Take returns what was seen since the last call.
func (w *Wire) Take() Seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = newSeen()
	if statistics, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		seen.Lost = int(statistics.Drops)
	}
	return seen
}

// Record writes what passes into a file in pcap's form until the returned function is called.
func (w *Wire) Record(path string) (func() error, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("interop: %w", err)
	}
	buffered := bufio.NewWriterSize(file, 1<<20)
	p := newPcap(buffered)
	w.mu.Lock()
	w.capture = p
	w.mu.Unlock()
	return func() error {
		w.mu.Lock()
		w.capture = nil
		w.mu.Unlock()
		return errors.Join(p.err, buffered.Flush(), file.Close())
	}, nil
}

// Close ends the reading.
func (w *Wire) Close() {
	close(w.stop)
	<-w.done
	_ = unix.Close(w.fd)
}
