package netio

import (
	"time"

	"golang.org/x/sys/unix"
)

// BootTime is the time since boot, suspension included (CLOCK_BOOTTIME). It never goes back and no
// setting of the wall clock moves it, so lifetimes are counted on it.
func BootTime() time.Duration {
	var ts unix.Timespec
	// It cannot fail: the clock exists since Linux 2.6.39 and ts is writable.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}
