//go:build linux

package interop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport.dev/sallyport/deploy/interop/station"
)

// What a case carries. The largest echo is fragmented on every link; the transfer is long enough for the kernel's
// sequence numbers to pass 2^32 (nearWrap).
const (
	transferSize    = 200 << 10
	echoTimeout     = 5 * time.Second
	transferTimeout = 30 * time.Second
)

func echoSizes() []int { return []int{56, 1300, 4000} }

// atOnce is the number of cases that talk at one time.
const atOnce = 6

// Result is what became of a case.
type Result struct {
	Case
	// Failures say what went wrong; empty when all was well.
	Failures []string
}

// Runner runs cases between two sides.
type Runner struct {
	Ours, Theirs Side
	// Wire, if not nil, reads the link between the sides.
	Wire *Wire
	// Captures is the folder for packets of failing cases; "" for none.
	Captures string
	// Log tells what happens.
	Log func(format string, args ...any)
}

// side is the one at an end.
func (r *Runner) side(e End) Side { return [...]Side{r.Ours, r.Theirs}[e] }

// Batch installs the cases on both sides, lets them talk, judges, and clears. The results are in the cases' order. An
// error means that the batch could not be run; notes are failures that belong to no case.
func (r *Runner) Batch(ctx context.Context, cases []Case) (results []Result, notes []string, err error) {
	keyed := make([]Keyed, len(cases))
	for i, c := range cases {
		keyed[i] = WithKeys(c)
	}
	errorsBefore := [2]map[string]uint64{}
	for _, e := range []End{Theirs, Ours} {
		begin := time.Now()
		if err := r.side(e).Install(ctx, keyed); err != nil {
			return nil, nil, fmt.Errorf("interop: install %d cases: %w", len(cases), err)
		}
		if errorsBefore[e], err = r.side(e).Errors(ctx); err != nil {
			return nil, nil, err
		}
		r.Log("installed at %s in %v", r.side(e).Station().Name, time.Since(begin).Round(time.Millisecond))
	}
	if r.Wire != nil {
		r.Wire.Take()
	}
	recorded, err := r.record(fmt.Sprintf("cases-%04d-to-%04d.pcap", cases[0].Number, cases[len(cases)-1].Number))
	if err != nil {
		return nil, nil, err
	}
	results = r.talk(ctx, keyed)
	notes, err = r.judge(ctx, keyed, results, errorsBefore)
	if err != nil {
		return nil, nil, errors.Join(err, recorded(true))
	}
	bad := len(notes) > 0 || slices.ContainsFunc(results, func(r Result) bool { return len(r.Failures) > 0 })
	if err := recorded(bad); err != nil {
		return nil, nil, err
	}
	r.again(ctx, keyed, results)
	for _, e := range []End{Ours, Theirs} {
		if err := r.side(e).Station().Reset(ctx); err != nil {
			return nil, nil, err
		}
	}
	for _, e := range []End{Ours, Theirs} {
		if err := r.side(e).Clear(ctx); err != nil {
			return nil, nil, fmt.Errorf("interop: clear: %w", err)
		}
	}
	return results, notes, nil
}

// record writes the link's packets into a file of Captures until the returned function is called, and says there whether
// to keep it.
func (r *Runner) record(name string) (end func(keep bool) error, err error) {
	if r.Wire == nil || r.Captures == "" {
		return func(bool) error { return nil }, nil
	}
	path := filepath.Join(r.Captures, name)
	stop, err := r.Wire.Record(path)
	if err != nil {
		return nil, err
	}
	return func(keep bool) error {
		err := stop()
		if !keep {
			err = errors.Join(err, os.Remove(path))
		}
		return err
	}, nil
}

// talk lets all cases talk, some at a time.
func (r *Runner) talk(ctx context.Context, cases []Keyed) []Result {
	results := make([]Result, len(cases))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, c := range cases {
		group.Go(func() error {
			results[i] = Result{c.Case, r.exchange(ctx, c)}
			return nil
		})
	}
	_ = group.Wait()
	return results
}

// exchange is one case's traffic. It gives up at the second thing that fails.
func (r *Runner) exchange(ctx context.Context, c Keyed) []string {
	var failures []string
	try := func(what string, err error) bool {
		if err != nil {
			failures = append(failures, fmt.Sprintf("%s: %v", what, err))
		}
		return len(failures) < 2
	}
	for _, size := range echoSizes() {
		for _, e := range []End{Ours, Theirs} {
			echo := station.Echo{
				Source: c.Address(e), Destination: c.Address(e.other()), Size: size, Secret: c.Confidential(), Timeout: echoTimeout,
			}
			if !try(fmt.Sprintf("echo %d from %s", size, e), r.side(e).Station().Ping(ctx, echo)) {
				return failures
			}
		}
	}
	try("transfer", r.Ours.Station().Transfer(ctx, station.Transfer{
		Source: c.Address(Ours), Destination: netip.AddrPortFrom(c.Address(Theirs), station.Port), Size: transferSize, Secret: c.Confidential(), Timeout: transferTimeout,
	}))
	return failures
}

// leastPackets is how many packets an SA has carried when all of a case's traffic has passed: six echoes.
const leastPackets = 6

// judge adds to the results what counters and the wire say, and returns what belongs to no case.
func (r *Runner) judge(ctx context.Context, cases []Keyed, results []Result, before [2]map[string]uint64) ([]string, error) {
	var notes []string
	for _, e := range []End{Ours, Theirs} {
		traffic, err := r.side(e).Traffic(ctx)
		if err != nil {
			return nil, err
		}
		for i, c := range cases {
			for to, spi := range c.SPI {
				sa := traffic[spi]
				if sa.Packets < leastPackets {
					results[i].fail("%s: the SA to %s, SPI %#x, has carried %d packets", r.side(e).Station().Name, End(to), spi, sa.Packets)
				}
				if c.ESN && sa.Sequence <= math.MaxUint32 {
					results[i].fail("%s: the SA to %s, SPI %#x, has not passed 2^32: %d", r.side(e).Station().Name, End(to), spi, sa.Sequence)
				}
			}
		}
		after, err := r.side(e).Errors(ctx)
		if err != nil {
			return nil, err
		}
		for _, name := range slices.Sorted(maps.Keys(after)) {
			if n := after[name] - before[e][name]; n != 0 {
				notes = append(notes, fmt.Sprintf("%s: %s %d", r.side(e).Station().Name, name, n))
			}
		}
	}
	if r.Wire != nil {
		notes = append(notes, judgeWire(r.Wire.Take(), cases, results)...)
	}
	return notes, nil
}

// judgeWire compares what passed with what the cases say.
func judgeWire(seen Seen, cases []Keyed, results []Result) []string {
	var notes []string
	for i, c := range cases {
		want := Carrier{c.Protocol, c.Encapsulation, c.Outer}
		for to, spi := range c.SPI {
			if n := seen.Packets[spi][want]; n < leastPackets {
				results[i].fail("the wire has carried %d packets of the SA to %s, SPI %#x", n, End(to), spi)
			}
			// RFC 4303 section 3.3.4, RFC 4302 section 3.3.4: the datagram is protected whole, and fragmented then.
			if c.Mode == Transport && seen.Fragments[spi] == 0 {
				results[i].fail("the wire has carried no fragment of the SA to %s, SPI %#x", End(to), spi)
			}
			for carrier, n := range seen.Packets[spi] {
				if carrier != want {
					results[i].fail("the wire has carried %d packets with SPI %#x as %v, wanted %v", n, spi, carrier, want)
				}
			}
		}
		for _, clear := range seen.Clear {
			if clear.of(c.Case) {
				results[i].fail("in clear: %v", clear)
			}
		}
	}
	for _, clear := range seen.Clear {
		if !slices.ContainsFunc(cases, func(c Keyed) bool { return clear.of(c.Case) }) {
			notes = append(notes, fmt.Sprintf("on the wire: %v", clear))
		}
	}
	if seen.Lost > 0 {
		notes = append(notes, fmt.Sprintf("the wire's reader has lost %d frames", seen.Lost))
	}
	return notes
}

func (r *Result) fail(format string, args ...any) {
	r.Failures = append(r.Failures, fmt.Sprintf(format, args...))
}

// mostAgain bounds the failing cases of a batch whose packets are recorded.
const mostAgain = 5

// again lets the first failing cases talk once more, alone, and records the packets. They stay failures.
func (r *Runner) again(ctx context.Context, cases []Keyed, results []Result) {
	if r.Wire == nil || r.Captures == "" {
		return
	}
	var once sync.Once
	recorded := 0
	for i, result := range results {
		if len(result.Failures) == 0 || recorded == mostAgain {
			continue
		}
		recorded++
		name := fmt.Sprintf("case-%04d-again.pcap", result.Number)
		end, err := r.record(name)
		if err != nil {
			once.Do(func() { r.Log("nothing is recorded: %v", err) })
			return
		}
		failures := r.exchange(ctx, cases[i])
		if err := end(true); err != nil {
			r.Log("%s: %v", name, err)
		}
		verdict := "failed again: " + strings.Join(failures, "; ")
		if len(failures) == 0 {
			verdict = "passed alone"
		}
		results[i].fail("once more, packets in %s: %s", name, verdict)
	}
}

// of says whether the packet is from or to an address of the case's own.
func (c Clear) of(k Case) bool {
	for _, e := range []End{Ours, Theirs} {
		if c.Source == k.Address(e) || c.Destination == k.Address(e) {
			return true
		}
	}
	return false
}

func (c Clear) String() string { return fmt.Sprintf("%v → %v %s", c.Source, c.Destination, c.What) }
func (e End) String() string   { return [...]string{"ours", "theirs"}[e] }
func (c Carrier) String() string {
	return fmt.Sprintf("%v %v over IPv%d", c.Encapsulation, c.Protocol, c.Outer)
}
