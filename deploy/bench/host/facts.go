//go:build linux

// Package host tells what machine the figures are of, and makes sure that it has what the benchmark runs.
package host

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Facts are what figures depend on.
type Facts struct {
	Kernel string // "Linux 6.12.0"
	CPU    string // its model
	Cores  int
	Go     string
}

// Look reads them.
func Look() (Facts, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Facts{}, fmt.Errorf("bench: %w", err)
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return Facts{}, fmt.Errorf("bench: %w", err)
	}
	return Facts{
		Kernel: unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:]),
		CPU:    model(string(info)), Cores: runtime.NumCPU(), Go: runtime.Version(),
	}, nil
}

// model is the first processor's name in /proc/cpuinfo; not every architecture has one.
func model(info string) string {
	for line := range strings.Lines(info) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// Load is the load average of the last minute.
func Load() (float64, error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	first, _, _ := strings.Cut(string(text), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0, fmt.Errorf("bench: /proc/loadavg says %q", text)
	}
	return load, nil
}
