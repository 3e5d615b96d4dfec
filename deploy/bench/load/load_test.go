//go:build linux

package load

import (
	"errors"
	"math"
	"testing"
	"time"
)

func TestParseTCP(t *testing.T) {
	for name, c := range map[string]struct {
		out  string
		want Transfer
	}{
		"one way": {`{"end":{"sum_sent":{"bytes":9e9},"sum_received":{"bytes":2e9,"bits_per_second":3.5e9}}}`, Transfer{2e9, 3.5}},
		"both ways": {`{"end":{"sum_received":{"bytes":2e9,"bits_per_second":3e9},
			"sum_received_bidir_reverse":{"bytes":1e9,"bits_per_second":1.5e9}}}`, Transfer{3e9, 4.5}},
	} {
		if got, err := parseTCP([]byte(c.out)); got != c.want || err != nil {
			t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
		}
	}
	for name, out := range map[string]string{
		"no JSON": "iperf3: error", "an error": `{"end":{"sum_received":{"bytes":1}},"error":"busy"}`, "nothing": `{"end":{}}`,
	} {
		if got, err := parseTCP([]byte(out)); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestMedianRTT(t *testing.T) {
	const out = `PING 10.98.2.1 (10.98.2.1) from 10.98.1.1 : 56(84) bytes of data.
64 bytes from 10.98.2.1: icmp_seq=1 ttl=64 time=9.00 ms
64 bytes from 10.98.2.1: icmp_seq=2 ttl=64 time=0.250 ms
64 bytes from 10.98.2.1: icmp_seq=4 ttl=64 time=0.300 ms

4 packets transmitted, 3 received, 25% packet loss, time 3003ms
`
	if got, err := medianRTT(out, 4); got != 300*time.Microsecond || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := medianRTT(out, 6); err == nil {
		t.Errorf("of six echoes three: %v", got)
	}
	if got, err := medianRTT("time=soon ms\n", 1); err == nil {
		t.Errorf("of no number: %v", got)
	}
}

func TestLoss(t *testing.T) {
	for _, c := range []struct {
		count Count
		want  float64
	}{
		{Count{Sent: 1000, Received: 999}, 0.001},
		{Count{Sent: 10, Received: 0}, 1},
		{Count{Sent: 10, Received: 11}, 0}, // the network may double one
		{Count{}, 1},
	} {
		if got := c.count.Loss(); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%+v loses %v, want %v", c.count, got, c.want)
		}
	}
}

func TestBisect(t *testing.T) {
	for _, limit := range []float64{1e6, 299_000, 20_000} {
		best := 0.0
		err := bisect(1e6, func(rate float64) (bool, error) {
			if rate > limit {
				return false, nil
			}
			if rate <= best {
				t.Errorf("after %v it tries %v", best, rate)
			}
			best = rate
			return true, nil
		})
		if err != nil || best > limit || best < 0.98*limit {
			t.Errorf("found %v of %v, %v", best, limit, err)
		}
	}
	broken := errors.New("broken")
	if err := bisect(1e6, func(float64) (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

func TestMessagesAreWholeTurns(t *testing.T) {
	list := messages([]int{64, 576, 1400})
	if len(list) == 0 || len(list) > batch || len(list)%3 != 0 {
		t.Fatalf("%d messages", len(list))
	}
	for i, want := range []uint64{64, 576, 1400, 64} {
		if got := uint64(list[i].Iov.Len); got != want {
			t.Errorf("message %d has %d bytes, want %d", i, got, want)
		}
	}
}
