//go:build linux

package main

import (
	"strings"
	"testing"
)

// An agent whose packets the kernel does not move many at a time says so, and why; all passes all the same. One whose
// packets it does says nothing.
func TestSlowIsTold(t *testing.T) {
	left, right := newStations(t)
	one, other := ends(tunnelPolicy, 16)
	left.save(one)
	right.save(other)
	left.start("--udp-no-checksum")
	right.start()
	const slow = "packets pass one by one"
	until(t, slow, func() bool { return strings.Contains(left.log.String(), slow) })
	if said := left.log.String(); !strings.Contains(said, "UDP checksums are off, and segmentation offload needs them") {
		t.Errorf("it does not say why: %s", said)
	}
	if err := echo(left, right, "10.2.0.1"); err != nil {
		t.Errorf("%v\n%s\n%s", err, left.log, right.log)
	}
	if said := right.log.String(); strings.Contains(said, slow) {
		t.Errorf("nothing is slow: %s", said)
	}
}
