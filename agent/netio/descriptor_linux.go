package netio

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// descriptor is a file descriptor whose calls return at once, and for which the thread that makes them waits by itself.
// With Go's poller another thread finds out that it is ready and the goroutine changes threads, once per batch of
// packets: that is a fifth of the processor's time.
type descriptor struct {
	fd     int
	stop   int          // an eventfd, readable once the descriptor is closed
	users  sync.RWMutex // locked for reading while fd is in use
	closed atomic.Bool
}

// newDescriptor takes over fd, which does not block. It closes it if it fails.
func newDescriptor(fd int) (*descriptor, error) {
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &descriptor{fd: fd, stop: stop}, nil
}

// do repeats call, which must not block, until it returns true, and waits for events (POLLIN, POLLOUT) in between;
// before it too, if it is known to be in vain. When there is an error to fetch it calls fetch, if there is one, which
// ends it by returning true. The error is net.ErrClosed, also for who is waiting when it is closed.
func (d *descriptor) do(events int16, call, fetch func(fd int) bool, vain bool) error {
	d.users.RLock()
	defer d.users.RUnlock()
	for {
		if d.closed.Load() {
			return net.ErrClosed
		}
		if !vain && call(d.fd) {
			return nil
		}
		vain = false
		fds := [...]unix.PollFd{{Fd: int32(d.fd), Events: events}, {Fd: int32(d.stop), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds[:], -1); err != nil && err != unix.EINTR {
			return err
		}
		if fds[0].Revents&unix.POLLERR != 0 && fetch != nil && fetch(d.fd) {
			return nil
		}
	}
}

// control calls f with the descriptor.
func (d *descriptor) control(f func(fd int) error) error {
	d.users.RLock()
	defer d.users.RUnlock()
	if d.closed.Load() {
		return net.ErrClosed
	}
	return f(d.fd)
}

// Close ends do wherever it waits, and closes the descriptor when nobody uses it.
func (d *descriptor) Close() error {
	if d.closed.Swap(true) {
		return net.ErrClosed
	}
	one := [8]byte{1}
	_, _ = unix.Write(d.stop, one[:]) // it has room
	d.users.Lock()
	defer d.users.Unlock()
	unix.Close(d.stop)
	return unix.Close(d.fd)
}

// closeAll closes those that there are.
func closeAll(ds ...*descriptor) error {
	var errs []error
	for _, d := range ds {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	return errors.Join(errs...)
}
