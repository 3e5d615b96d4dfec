package manual

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// shelf is where SAs are put.
type shelf struct {
	in, out []datapath.SA
	fail    error
}

func (s *shelf) InstallInbound(sa datapath.SA) error { s.in = append(s.in, sa); return s.fail }
func (s *shelf) InstallOutbound(sa datapath.SA) error {
	if s.fail == nil {
		s.out = append(s.out, sa)
	}
	return s.fail
}
func (s *shelf) RaiseCeiling(datapath.SAID, uint64) error { return nil }

func TestInstallerReservesNumbers(t *testing.T) {
	dir, s := t.TempDir(), new(shelf)
	reservations, err := OpenReservations(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer reservations.Close()
	i := NewInstaller(NewKeeper(reservations, s, nil), s)
	sa := datapath.SA{ID: datapath.SAID{1}, Pair: datapath.PairID{1}, Generation: 1, SPI: 4096,
		Transform: datapath.Transform{ID: transform.EncrAESCBC, KeyBits: 128, Integrity: transform.IntegHMACSHA2_256_128}, Key: bytes.Repeat([]byte{1}, 48)}
	install := func(sa datapath.SA, want error) {
		t.Helper()
		if err := i.InstallManual(sa, false); !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	if err := i.InstallManual(sa, true); err != nil || len(s.in) != 1 || s.in[0].Ceiling != 0 {
		t.Errorf("inbound: %v, %+v", err, s.in)
	}
	s.fail = errors.New("as wished")
	install(sa, s.fail)
	s.fail = nil
	install(sa, nil)
	if s.out[0].Sequence != 0 || s.out[0].Ceiling != Block {
		t.Errorf("the first has numbers %d to %d", s.out[0].Sequence, s.out[0].Ceiling)
	}
	install(sa, nil) // again
	if reservations.reserved[fingerprint(sa.Key[:16])] != Block {
		t.Error("an SA that was there has cost numbers")
	}
	other := sa // the key comes again, under another id and SPI
	other.ID, other.SPI, other.Generation = datapath.SAID{2}, 5000, 2
	install(other, nil)
	if last := s.out[len(s.out)-1]; last.Sequence != Block || last.Ceiling != 2*Block {
		t.Errorf("the second has numbers %d to %d", last.Sequence, last.Ceiling)
	}
	ah := datapath.SA{ID: datapath.SAID{3}, Protocol: datapath.AH, Encapsulation: datapath.Native, Transform: datapath.Transform{Integrity: transform.IntegHMACSHA2_256_128}, Key: bytes.Repeat([]byte{2}, 32)}
	install(ah, nil)
	ah.ID, ah.Key = datapath.SAID{4}, ah.Key[1:]
	install(ah, transform.ErrKeyLength)
	ah.Transform.Integrity = 999
	install(ah, transform.ErrUnknown)
	broken := Broken(ErrDamaged)
	if err := broken.InstallManual(sa, true); !errors.Is(err, ErrDamaged) {
		t.Errorf("broken: %v", err)
	}
}

// TestShare: a reader that does not come does not keep the other one's events.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		events, keeper, others := make(chan datapath.Event), make(chan datapath.Event), make(chan datapath.Event)
		done := make(chan error)
		go func() { done <- Share(ctx, events, keeper, others) }()
		for n := range byte(6) {
			kind := datapath.SoftLifetime
			if n%2 == 0 {
				kind = datapath.CeilingNear
			}
			events <- datapath.Event{Kind: kind, SA: datapath.SAID{n}}
		}
		for _, n := range []byte{0, 2, 4} {
			if e := <-keeper; e.Kind != datapath.CeilingNear || e.SA != (datapath.SAID{n}) {
				t.Errorf("the keeper gets %+v", e)
			}
		}
		for _, n := range []byte{1, 3, 5} {
			if e := <-others; e.Kind != datapath.SoftLifetime || e.SA != (datapath.SAID{n}) {
				t.Errorf("the others get %+v", e)
			}
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
