//go:build linux

package load_test

import (
	"os"
	"testing"
	"time"

	"sallyport.dev/sallyport/deploy/bench/bed"
	"sallyport.dev/sallyport/deploy/bench/load"
)

// A blast over the bare wire: what is counted is what was sent, in both IP versions.
func TestBlast(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	b, err := bed.Open(t.Context(), bed.Plan{Number: 1, MTU: 1500})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, f := range []bed.Family{4, 6} {
		p := load.Path{From: b.Ends[0], To: b.Ends[1], Source: bed.Outer(0, f), Destination: bed.Outer(1, f)}
		if err := p.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, rate := range []float64{0, 5000} {
			c, err := load.Blast{Sizes: []int{100, 300}, Rate: rate, Time: 50 * time.Millisecond}.Run(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if c.Received == 0 || c.Received > c.Sent || c.Timely > c.Received || c.Bytes < 100*c.Timely || c.Bytes > 300*c.Timely {
				t.Errorf("IPv%d at %v: %+v", f, rate, c)
			}
			if most := 2 * rate * c.Elapsed.Seconds(); rate > 0 && float64(c.Sent) > most+256 {
				t.Errorf("IPv%d at %v: %d were sent in %v", f, rate, c.Sent, c.Elapsed)
			}
		}
	}
}
