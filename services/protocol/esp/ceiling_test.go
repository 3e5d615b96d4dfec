package esp

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"sallyport.dev/sallyport/services/protocol/replay"
)

// A key that outlives the process goes on above the numbers that are written down, and stops at
// those that are not.
func TestCeiling(t *testing.T) {
	c := testConfig(parseSuite(t, "aes128gcm16"), true)
	c.Sequence, c.Ceiling = 1000, 1002
	s, o := newPair(t, c)
	inner, nextHeader := innerPacket(t, 4, 40)
	use := func(from, to uint64) {
		t.Helper()
		for seq := from; seq <= to; seq++ {
			if got, err := o.Open(mustSeal(t, s, inner, nextHeader)); err != nil || got.Seq != seq || s.Seq() != seq {
				t.Fatalf("packet %d: seq %d, %v", seq, got.Seq, err)
			}
		}
		buf := bytes.Repeat([]byte{0xaa}, 256)
		remaining := s.Remaining()
		for range 3 {
			if got, err := s.Seal(buf[:0], inner, nextHeader); err != ErrCeiling || len(got) != 0 {
				t.Fatalf("above %d: %v, %d bytes", to, err, len(got))
			}
		}
		if s.Seq() != to || s.Ceiling() != to || s.Remaining() != remaining || bytes.Count(buf, []byte{0xaa}) != len(buf) {
			t.Fatalf("above %d: Seq %d, Ceiling %d, or the buffer was written to", to, s.Seq(), s.Ceiling())
		}
	}
	use(1001, 1002)
	for _, lower := range []uint64{0, 1, 1002} { // it never goes down
		s.RaiseCeiling(lower)
	}
	use(1003, 1002)
	s.RaiseCeiling(1005)
	s.RaiseCeiling(1004)
	use(1003, 1005)
	s.RaiseCeiling(math.MaxUint64)
	if got := s.Remaining(); got != math.MaxInt64-1005 || s.Ceiling() != math.MaxUint64 {
		t.Errorf("%d remain under the ceiling %d", got, s.Ceiling())
	}
	mustSeal(t, s, inner, nextHeader)
}

func TestCeilingEdges(t *testing.T) {
	for name, tt := range map[string]struct {
		esn               bool
		sequence, ceiling uint64
		newErr, sealErr   error
	}{
		"nothing given":                 {false, 0, 0, nil, nil},
		"before the last":               {false, math.MaxUint32 - 1, 0, nil, nil},
		"after the last":                {false, math.MaxUint32, 0, nil, ErrSequenceExhausted},
		"after the last, ceiling":       {false, math.MaxUint32, math.MaxUint64, nil, ErrSequenceExhausted},
		"past the last":                 {false, math.MaxUint32 + 1, 0, ErrSequenceExhausted, nil},
		"2^32 with ESN":                 {true, math.MaxUint32 + 1, 0, nil, nil},
		"past the last with ESN":        {true, math.MaxInt64 + 1, 0, ErrSequenceExhausted, nil},
		"ceiling below the sequence":    {true, 100, 7, nil, ErrCeiling},
		"ceiling at the sequence":       {true, 100, 100, nil, ErrCeiling},
		"ceiling one above":             {true, 100, 101, nil, nil},
		"ceiling above the last number": {false, 5, math.MaxUint64, nil, nil},
	} {
		c := testConfig(parseSuite(t, "aes128gcm16"), tt.esn)
		c.Sequence, c.Ceiling = tt.sequence, tt.ceiling
		s, err := NewSealer(c)
		if !errors.Is(err, tt.newErr) {
			t.Errorf("%s: NewSealer: %v, want %v", name, err, tt.newErr)
		}
		if err != nil {
			continue
		}
		if _, err := s.Seal(make([]byte, 0, 256), nil, NextHeaderDummy); err != tt.sealErr {
			t.Errorf("%s: Seal: %v, want %v", name, err, tt.sealErr)
		}
	}
	s, _ := newPair(t, testConfig(parseSuite(t, "aes128gcm16"), false))
	s.RaiseCeiling(1) // there is none
	mustSeal(t, s, nil, NextHeaderDummy)
	mustSeal(t, s, nil, NextHeaderDummy)
	if s.Ceiling() != 0 {
		t.Errorf("an SA without a ceiling has got %d", s.Ceiling())
	}
}

// Another seed gives other IVs under the same key and numbers, and the peer notices nothing.
func TestIVSeed(t *testing.T) {
	for _, name := range []string{"aes128-sha256", "3des-sha1"} {
		seen := map[string]bool{}
		for _, seed := range []string{"", "a", "b", "aa", "\x00"} {
			c := testConfig(parseSuite(t, name), true)
			c.IVSeed = []byte(seed)
			s, o := newPair(t, c)
			for range 100 {
				p := mustSeal(t, s, nil, NextHeaderDummy)
				if iv := string(s.iv(p)); seen[iv] {
					t.Fatalf("%s: IV %x comes twice", name, iv)
				} else {
					seen[iv] = true
				}
				if _, err := o.Open(p); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestWindowErrors(t *testing.T) {
	c := testConfig(parseSuite(t, "aes128gcm16"), true)
	for window, want := range map[int]error{-1: replay.ErrESN, 31: replay.ErrSize, 32: nil, 4096: nil, 4097: replay.ErrSize} {
		c.Window = window
		if _, err := NewOpener(c); !errors.Is(err, want) {
			t.Errorf("window %d: %v, want %v", window, err, want)
		}
	}
}
