package replay

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// model is the window as RFC 4303 section 3.4.3 tells it, slow and obviously right: the
// set of all numbers ever accepted.
type model struct {
	seen map[uint64]bool
	top  uint64
	size uint64
}

func newModel(size uint64) *model {
	return &model{seen: map[uint64]bool{0: true}, size: size}
}

func (m *model) check(seq uint64) error {
	switch {
	case seq > m.top:
		return nil
	case seq+m.size <= m.top:
		return ErrLate
	case m.seen[seq]:
		return ErrReplayed
	}
	return nil
}

func (m *model) accept(seq uint64) error {
	if err := m.check(seq); err != nil {
		return err
	}
	m.seen[seq] = true
	m.top = max(m.top, seq)
	return nil
}

// infer tries each number that has these low bits and takes the one that the window, or
// the 2^32 numbers from its bottom on, holds: the definition that appendix A2 implements.
func (m *model) infer(low uint32) (uint64, error) {
	bottom := int64(m.top) - int64(m.size) + 1
	for high := int64(m.top>>32) - 1; ; high++ {
		seq := high<<32 | int64(low)
		if seq >= bottom {
			if seq < 0 {
				return 0, ErrLate
			}
			return uint64(seq), nil
		}
	}
}

func mustNew(t testing.TB, size int, esn bool) *Window {
	t.Helper()
	w, err := New(size, esn)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// Random traffic with losses, duplicates and reorderings, through the window and the model.
func TestWindowAgainstModel(t *testing.T) {
	starts := map[string]uint64{
		"from the start":   0,
		"across 2^32":      1<<32 - 3000,
		"across 2 * 2^32":  2<<32 - 3000,
		"across 2^62":      1<<62 - 3000, // the model computes in int64
		"without boundary": 5 << 32,
	}
	for name, start := range starts {
		for _, size := range []int{32, 33, 63, 64, 65, 127, 128, 1000, 1024, 4095, 4096} {
			t.Run(fmt.Sprintf("%s/%d", name, size), func(t *testing.T) {
				for seed := range uint64(8) {
					compare(t, mustNew(t, size, true), start, rand.New(rand.NewPCG(seed, start)))
				}
			})
		}
	}
}

func compare(t *testing.T, w *Window, start uint64, random *rand.Rand) {
	t.Helper()
	m := newModel(uint64(w.Size()))
	if start > 0 {
		if w.Accept(start) != nil || m.accept(start) != nil {
			t.Fatalf("start %#x is not accepted", start)
		}
	}
	for range 10000 {
		seq := next(random, m.top, m.size)
		inferred, err := w.Infer(uint32(seq))
		wantInferred, wantErr := m.infer(uint32(seq))
		if inferred != wantInferred || err != wantErr {
			t.Fatalf("top %#x: Infer(%#x) = %#x, %v, want %#x, %v", m.top, uint32(seq), inferred, err, wantInferred, wantErr)
		}
		if got, want := w.Check(seq), m.check(seq); got != want {
			t.Fatalf("top %#x: Check(%#x): %v, want %v", m.top, seq, got, want)
		}
		if random.IntN(4) == 0 {
			continue // the ICV was wrong: no Accept
		}
		if got, want := w.Accept(seq), m.accept(seq); got != want || w.Top() != m.top {
			t.Fatalf("Accept(%#x): %v, top %#x, want %v, %#x", seq, got, w.Top(), want, m.top)
		}
	}
}

// next is mostly near the top, at times around the window's bottom, at times far ahead.
func next(random *rand.Rand, top, size uint64) uint64 {
	var seq uint64
	switch random.IntN(20) {
	case 0:
		seq = top + random.Uint64N(3*size)
	case 1:
		seq = top - size + random.Uint64N(8) - 4
	case 2:
		seq = top - random.Uint64N(2*size)
	case 3:
		seq = top + 64 - top%64 + random.Uint64N(3) - 1 // around a word's end
	default:
		seq = top - random.Uint64N(40) + random.Uint64N(44)
	}
	if seq > top+4*size {
		return 0 // it was left of 0
	}
	return seq
}

// One table row is one line of RFC 4303 appendix A2.2.
func TestInfer(t *testing.T) {
	const size = 64
	for _, tt := range []struct {
		name string
		top  uint64
		low  uint32
		want uint64
		err  error
	}{
		{"nothing yet", 0, 1, 1, nil},
		{"nothing yet, at the top of the first subspace", 0, math.MaxUint32, 0, ErrLate},
		{"before the first", 10, math.MaxUint32, 0, ErrLate},
		{"far ahead in the first subspace", 10, math.MaxUint32 - 63, math.MaxUint32 - 63, nil},
		{"A: in the window", 5<<32 + 1000, 990, 5<<32 + 990, nil},
		{"A: the window's bottom", 5<<32 + 1000, 937, 5<<32 + 937, nil},
		{"A: below the window", 5<<32 + 1000, 936, 6<<32 + 936, nil},
		{"A: ahead", 5<<32 + 1000, math.MaxUint32, 5<<32 + math.MaxUint32, nil},
		{"A: window from 0", 5<<32 + 63, 0, 5 << 32, nil},
		{"B: window from -1", 5<<32 + 62, math.MaxUint32, 4<<32 + math.MaxUint32, nil},
		{"B: in the newer subspace", 5<<32 + 10, 5, 5<<32 + 5, nil},
		{"B: ahead", 5<<32 + 10, 500, 5<<32 + 500, nil},
		{"B: in the older subspace", 5<<32 + 10, math.MaxUint32 - 52, 4<<32 + math.MaxUint32 - 52, nil},
		{"B: below the window", 5<<32 + 10, math.MaxUint32 - 53, 5<<32 + math.MaxUint32 - 53, nil},
		{"into the next subspace", 5<<32 + math.MaxUint32, 0, 6 << 32, nil},
		{"the last subspace wraps", math.MaxUint64, 7, 7, nil}, // and is late
	} {
		w := mustNew(t, size, true)
		if tt.top > 0 {
			if err := w.Accept(tt.top); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := w.Infer(tt.low); got != tt.want || err != tt.err {
			t.Errorf("%s: %#x, %v, want %#x, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
	w := mustNew(t, size, true)
	if err := w.Accept(math.MaxUint64); err != nil {
		t.Fatal(err)
	}
	if err := w.Check(7); err != ErrLate {
		t.Errorf("wrapped number: %v, want %v", err, ErrLate)
	}
}

func TestWithoutESN(t *testing.T) {
	w := mustNew(t, 0, false)
	if w.Size() != DefaultSize {
		t.Errorf("default size is %d", w.Size())
	}
	for _, low := range []uint32{0, 1, 1 << 31, math.MaxUint32} {
		if seq, err := w.Infer(low); seq != uint64(low) || err != nil {
			t.Errorf("Infer(%#x) = %#x, %v", low, seq, err)
		}
	}
	if err := w.Check(0); err != ErrReplayed {
		t.Errorf("number 0: %v, want %v", err, ErrReplayed)
	}
	if err := w.Accept(math.MaxUint32); err != nil {
		t.Fatal(err)
	}
	if err := w.Check(1); err != ErrLate { // the number has not wrapped
		t.Errorf("number 1 after the last: %v, want %v", err, ErrLate)
	}
}

func TestSize(t *testing.T) {
	for size, want := range map[int]int{0: 1024, 32: 32, 33: 33, 64: 64, 65: 65, 1025: 1025, 4095: 4095, 4096: 4096, Off: 0, math.MinInt: 0} {
		if got := mustNew(t, size, false).Size(); got != want {
			t.Errorf("New(%d) is %d wide, want %d", size, got, want)
		}
	}
	for _, size := range []int{1, 31, 4097, math.MaxInt} {
		if _, err := New(size, false); !errors.Is(err, ErrSize) {
			t.Errorf("New(%d): %v, want %v", size, err, ErrSize)
		}
	}
	if _, err := New(Off, true); err != ErrESN {
		t.Errorf("no window with ESN: %v, want %v", err, ErrESN)
	}
}

// Without a window every number is taken, again and again, and the top is the highest seen.
func TestOff(t *testing.T) {
	w := mustNew(t, Off, false)
	for _, tt := range []struct{ seq, top uint64 }{
		{0, 0}, {7, 7}, {7, 7}, {1, 7}, {9000, 9000}, {7, 9000}, {math.MaxUint32, math.MaxUint32}, {0, math.MaxUint32}, {1, math.MaxUint32},
	} {
		seq, err := w.Infer(uint32(tt.seq))
		if err != nil || seq != tt.seq || w.Check(seq) != nil || w.Accept(seq) != nil || w.Top() != tt.top {
			t.Errorf("number %d: inferred %d, %v; top %d, want %d", tt.seq, seq, err, w.Top(), tt.top)
		}
	}
}

func TestWindowDoesNotAllocate(t *testing.T) {
	w := mustNew(t, MaxSize, true)
	seq := uint64(0)
	if n := testing.AllocsPerRun(1000, func() {
		seq += 3000
		inferred, err := w.Infer(uint32(seq))
		if err != nil || w.Check(inferred) != nil || w.Accept(inferred) != nil {
			t.Fatalf("%d is not accepted", seq)
		}
	}); n != 0 {
		t.Errorf("%v allocations per packet", n)
	}
}

func BenchmarkAccept(b *testing.B) {
	w := mustNew(b, DefaultSize, true)
	for seq := uint64(1); b.Loop(); seq++ {
		if w.Accept(seq) != nil {
			b.Fatal(seq)
		}
	}
}
