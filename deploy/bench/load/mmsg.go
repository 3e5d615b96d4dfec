//go:build linux

package load

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	Len uint32
	_   [unsafe.Sizeof(uintptr(0)) - 4]byte
}

// batch is how many packets one system call takes at most.
const batch = 128

// messages is one mmsghdr for each of some buffers of the given sizes, in turn.
func messages(sizes []int) []mmsghdr {
	n := batch / len(sizes) * len(sizes) // whole turns, so that the mixture is right whatever is sent
	list := make([]mmsghdr, n)
	for i := range list {
		buffer := make([]byte, sizes[i%len(sizes)])
		vector := &unix.Iovec{Base: &buffer[0]}
		vector.SetLen(len(buffer))
		list[i].Iov = vector
		list[i].SetIovlen(1)
	}
	return list
}

// exchange is sendmmsg or recvmmsg; it returns how many messages were. The thread waits in the kernel.
func exchange(call uintptr, fd int, list []mmsghdr, flags int) (int, error) {
	n, _, errno := unix.Syscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)), uintptr(flags), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// arrivals are what has come.
type arrivals struct{ packets, bytes atomic.Uint64 }

// receive counts packets until ctx ends.
func (a *arrivals) receive(ctx context.Context, fd int) error {
	list := messages([]int{2048})
	for ctx.Err() == nil {
		n, err := exchange(unix.SYS_RECVMMSG, fd, list, unix.MSG_WAITFORONE)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("bench: receive UDP: %w", err)
		}
		var bytes uint64
		for i := range list[:n] {
			bytes += uint64(list[i].Len)
		}
		a.packets.Add(uint64(n))
		a.bytes.Add(bytes)
	}
	return nil
}

// send sends for b.Time and returns how many packets, and how long it took.
func (b Blast) send(ctx context.Context, fd int) (sent uint64, took time.Duration, err error) {
	runtime.LockOSThread() // and never unlocks: its timer slack is its own
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1000, 0, 0, 0); err != nil {
		return 0, 0, fmt.Errorf("bench: %w", err)
	}
	list := messages(b.Sizes)
	begin := time.Now()
	pace := pacer{rate: b.Rate, most: len(list), last: begin}
	for now := begin; ctx.Err() == nil && now.Sub(begin) < b.Time; now = time.Now() {
		n := len(list)
		if b.Rate > 0 {
			n = pace.allow(now)
		}
		if n == 0 {
			pause(tick)
			continue
		}
		n, err := exchange(unix.SYS_SENDMMSG, fd, list[:n], 0)
		if err != nil && !passing(err) {
			return 0, 0, fmt.Errorf("bench: send UDP: %w", err)
		}
		sent += uint64(n)
	}
	return sent, time.Since(begin), nil
}

// passing says whether a send may fail so at any time: the device is full, or an answer to an earlier packet.
func passing(err error) bool {
	return errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNREFUSED)
}

// pause waits in the kernel: the runtime's timers are too coarse.
func pause(d time.Duration) {
	left := unix.NsecToTimespec(int64(d))
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &left, &left) == syscall.EINTR {
	}
}
