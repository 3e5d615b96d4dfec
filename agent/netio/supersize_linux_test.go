package netio

import "testing"

// The kernel fills a super-packet with segments of the MTU, less its own headers' room: they make one message.
func TestSuperSize(t *testing.T) {
	for _, mtu := range []int{1280, 1400, 1420, 4000, 8900} {
		size := superSize(mtu, false)
		segments := (size - superSpare) / (mtu - tcpHeaders)
		if full := segments * (mtu + espAdds); full > longestRun || full <= longestRun-(mtu+espAdds) {
			t.Errorf("MTU %d: %d segments make messages of %d bytes; at most %d fit", mtu, segments, full, longestRun)
		}
		if got := superSize(mtu, true); got != kernelSuperSize {
			t.Errorf("MTU %d, made for another device: %d", mtu, got)
		}
	}
	if got := superSize(65535, false); got != kernelSuperSize {
		t.Errorf("an MTU that no message carries: %d", got)
	}
}
