package sad

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
)

func id(n int) [16]byte { return [16]byte{byte(n >> 8), byte(n), 1} }

func testSA(n, pair int, generation uint32, d Direction) SA {
	return SA{ID: id(n), Pair: id(1000 + pair), Generation: generation, SPI: uint32(5000 + n), Direction: d}
}

// install is Install with the SA's ID as its state.
func install(d *Database[[16]byte], sa SA) (bool, error) {
	return d.Install(sa, func() ([16]byte, error) { return sa.ID, nil })
}

func mustInstall(t *testing.T, d *Database[[16]byte], all ...SA) {
	t.Helper()
	for _, sa := range all {
		if installed, err := install(d, sa); !installed || err != nil {
			t.Fatalf("%+v: %v, %v", sa, installed, err)
		}
	}
}

func burnt(err error) uint32 {
	if b := (*BurntError)(nil); errors.As(err, &b) {
		return b.Highest
	}
	return 0
}

func TestInstallIsIdempotent(t *testing.T) {
	d := NewDatabase[*Account]()
	sa := testSA(1, 1, 1, Outbound)
	created := 0
	create := func() (*Account, error) {
		created++
		a := NewAccount(Lifetime{Hard: Limits{Packets: 10}})
		return &a, nil
	}
	if installed, err := d.Install(sa, create); !installed || err != nil {
		t.Fatal(installed, err)
	}
	_, first, _ := d.Get(sa.ID)
	first.Count(0, 100)

	if installed, err := d.Install(sa, create); installed || err != nil {
		t.Errorf("the same SA again: %v, %v", installed, err)
	}
	held, second, _ := d.Get(sa.ID)
	if created != 1 || second != first || second.Bytes() != 100 || held != sa {
		t.Errorf("the same SA again has changed something: created %d times, %d bytes, %+v", created, second.Bytes(), held)
	}
	for name, change := range map[string]func(*SA){
		"pair":       func(s *SA) { s.Pair = id(7) },
		"generation": func(s *SA) { s.Generation = 2 },
		"SPI":        func(s *SA) { s.SPI++ },
		"direction":  func(s *SA) { s.Direction = Inbound },
	} {
		other := sa
		change(&other)
		if installed, err := d.Install(other, create); installed || !errors.Is(err, ErrIDClash) {
			t.Errorf("the same ID with another %s: %v, %v", name, installed, err)
		}
	}
	if held, _, _ := d.Get(sa.ID); held != sa || created != 1 || d.Len() != 1 {
		t.Error("a refused SA has changed something")
	}
}

func TestBurnt(t *testing.T) {
	d := NewDatabase[[16]byte]()
	mustInstall(t, d, testSA(1, 1, 3, Outbound))
	for generation := uint32(1); generation <= 3; generation++ {
		if installed, err := install(d, testSA(2, 1, generation, Outbound)); installed || burnt(err) != 3 {
			t.Errorf("generation %d: %v, %v, want burnt at 3", generation, installed, err)
		}
	}
	// The other direction, and other pairs, have numbers of their own.
	mustInstall(t, d, testSA(3, 1, 3, Inbound), testSA(4, 2, 1, Outbound), testSA(5, 1, 4, Outbound))

	for _, n := range []int{5, 1} {
		if value, ok := d.Remove(id(n)); !ok || value != id(n) {
			t.Errorf("Remove: %v, %v", value, ok)
		}
	}
	for n, generation := range []uint32{1, 3, 4} { // also the very SAs that were removed
		sa := testSA([]int{6, 1, 5}[n], 1, generation, Outbound)
		if installed, err := install(d, sa); installed || burnt(err) != 4 {
			t.Errorf("generation %d after Remove: %v, %v, want burnt at 4", generation, installed, err)
		}
	}
	if got := d.Highest(id(1001), Outbound); got != 4 {
		t.Errorf("highest is %d, want 4", got)
	}
	if got := d.Highest(id(1001), Inbound); got != 3 {
		t.Errorf("highest inbound is %d, want 3", got)
	}
	if got := d.Highest(id(1099), Inbound); got != 0 {
		t.Errorf("highest of an unknown pair is %d", got)
	}
	mustInstall(t, d, testSA(7, 1, 5, Outbound))
	if got := (&BurntError{Highest: 7}).Error(); got != "sad: generation is burnt: the highest installed was 7" {
		t.Errorf("message: %s", got)
	}
}

func TestSPIClash(t *testing.T) {
	d := NewDatabase[[16]byte]()
	a, b := testSA(1, 1, 1, Inbound), testSA(2, 2, 1, Inbound)
	b.SPI = a.SPI
	mustInstall(t, d, a)
	if installed, err := install(d, b); installed || !errors.Is(err, ErrSPIClash) {
		t.Errorf("SPI of another inbound SA: %v, %v", installed, err)
	}
	if d.Highest(b.Pair, Inbound) != 0 {
		t.Error("the refused SA's generation is burnt")
	}
	// Outbound SPIs are the receivers' to choose, who need not agree.
	c, e := testSA(3, 3, 1, Outbound), testSA(4, 4, 1, Outbound)
	c.SPI, e.SPI = a.SPI, a.SPI
	mustInstall(t, d, c, e)
	d.Remove(c.ID)
	if installed, err := install(d, b); installed || !errors.Is(err, ErrSPIClash) {
		t.Errorf("after an outbound SA of the SPI is gone: %v, %v", installed, err)
	}
	d.Remove(a.ID)
	mustInstall(t, d, b)
	if got, ok := d.View().Inbound(b.SPI); !ok || got != b.ID {
		t.Errorf("the SPI leads to %x, %v", got, ok)
	}
}

func TestInstallRefusesMalformed(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*SA)
		want   error
	}{
		"no ID":        {func(s *SA) { s.ID = [16]byte{} }, ErrSA},
		"no pair":      {func(s *SA) { s.Pair = [16]byte{} }, ErrSA},
		"no direction": {func(s *SA) { s.Direction = 0 }, ErrSA},
		"direction 3":  {func(s *SA) { s.Direction = 3 }, ErrSA},
		"generation 0": {func(s *SA) { s.Generation = 0 }, ErrSA},
		"SPI 0":        {func(s *SA) { s.SPI = 0 }, ErrReservedSPI},
		"SPI 255":      {func(s *SA) { s.SPI = 255 }, ErrReservedSPI},
	} {
		d := NewDatabase[[16]byte]()
		sa := testSA(1, 1, 1, Inbound)
		tt.change(&sa)
		if installed, err := install(d, sa); installed || !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v, want %v", name, installed, err, tt.want)
		}
		if d.Len() != 0 || d.Highest(sa.Pair, sa.Direction) != 0 {
			t.Errorf("%s: the refused SA has left something", name)
		}
	}
}

// An SA whose state cannot be made is not there, and its generation is not used up.
func TestInstallCreateFails(t *testing.T) {
	d := NewDatabase[[16]byte]()
	sa, boom := testSA(1, 1, 1, Inbound), errors.New("boom")
	if installed, err := d.Install(sa, func() ([16]byte, error) { return id(9), boom }); installed || err != boom {
		t.Errorf("%v, %v, want %v", installed, err, boom)
	}
	if _, _, ok := d.Get(sa.ID); ok || d.Len() != 0 {
		t.Error("the SA is there")
	}
	mustInstall(t, d, sa)
}

// Rekeying: new packets take the highest generation, the old SA still receives, and after
// its removal nothing of it is found.
func TestViewThroughRekey(t *testing.T) {
	d := NewDatabase[[16]byte]()
	mustInstall(t, d, testSA(1, 1, 1, Inbound), testSA(2, 1, 1, Outbound))
	before := d.View()
	mustInstall(t, d, testSA(3, 1, 2, Inbound))
	expect(t, d.View(), id(2), 1, 3)
	mustInstall(t, d, testSA(4, 1, 2, Outbound))
	expect(t, d.View(), id(4), 1, 3)
	d.Remove(id(2))
	d.Remove(id(1))
	expect(t, d.View(), id(4), 3)
	d.Remove(id(4))
	d.Remove(id(3))
	if _, ok := d.View().Outbound(id(1001)); ok || d.Len() != 0 {
		t.Error("a removed outbound SA is still found")
	}
	expect(t, before, id(2), 1) // a picture does not change
	if _, ok := d.Remove(id(4)); ok {
		t.Error("an SA is removed twice")
	}
	if _, ok := new(View[int]).Inbound(5001); ok {
		t.Error("the zero View holds something")
	}
}

// expect checks the outbound SA of pair 1 and which of the inbound SAs 1 to 9 are there.
func expect(t *testing.T, v *View[[16]byte], outbound [16]byte, inbound ...int) {
	t.Helper()
	if got, ok := v.Outbound(id(1001)); !ok || got != outbound {
		t.Errorf("outbound SA %x, %v, want %x", got, ok, outbound)
	}
	var got []int
	for n := 1; n < 10; n++ {
		if sa, ok := v.Inbound(uint32(5000 + n)); ok && sa == id(n) {
			got = append(got, n)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(inbound) {
		t.Errorf("inbound SAs %v, want %v", got, inbound)
	}
}

// Whatever the order of arrival, the highest generation is taken.
func TestViewHighestGeneration(t *testing.T) {
	d := NewDatabase[[16]byte]()
	for n := 1; n <= 50; n++ {
		mustInstall(t, d, testSA(n, 1, uint32(n), Outbound))
	}
	for n := 50; n > 1; n-- {
		if got, _ := d.View().Outbound(id(1001)); got != id(n) {
			t.Fatalf("outbound SA %x, want %x", got, id(n))
		}
		d.Remove(id(n))
	}
}

func TestAll(t *testing.T) {
	d := NewDatabase[[16]byte]()
	mustInstall(t, d, testSA(1, 1, 1, Inbound), testSA(2, 1, 1, Outbound), testSA(3, 2, 1, Outbound))
	seen := 0
	for sa, value := range d.All {
		if sa.ID != value {
			t.Errorf("SA %x comes with the state %x", sa.ID, value)
		}
		seen++
	}
	for range d.All {
		seen++
		break
	}
	if seen != 4 {
		t.Errorf("%d SAs seen, want 4", seen)
	}
}

func TestStrings(t *testing.T) {
	got := fmt.Sprint(Inbound, Outbound, Direction(9), OK, Soft, Hard)
	if want := "inbound outbound direction(9) ok soft hard"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestViewDoesNotAllocate(t *testing.T) {
	d := NewDatabase[[16]byte]()
	mustInstall(t, d, testSA(1, 1, 1, Inbound), testSA(2, 1, 1, Outbound), groupSA(3, 300, groupA, senderA), groupSA(4, 300, groupA, netip.Addr{}))
	v := d.View()
	if n := testing.AllocsPerRun(1000, func() {
		v.Inbound(5001)
		v.Inbound(1)
		v.InboundFor(300, groupA, senderB)
		v.Outbound(id(1001))
		v.Narrowed(id(1001))
	}); n != 0 {
		t.Errorf("%v allocations per lookup", n)
	}
}

// TestAnIDNeverComesBack: the key of an ID is one key, and its first sequence number was used.
func TestAnIDNeverComesBack(t *testing.T) {
	for _, direction := range []Direction{Inbound, Outbound} {
		d := NewDatabase[[16]byte]()
		sa := testSA(1, 1, 1, direction)
		mustInstall(t, d, sa)
		d.Remove(sa.ID)
		sa.Generation = 2
		if installed, err := install(d, sa); installed || !errors.Is(err, ErrIDClash) {
			t.Errorf("%v: %v, %v", direction, installed, err)
		}
		mustInstall(t, d, testSA(2, 1, 2, direction))
	}
}
