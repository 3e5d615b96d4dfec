package ipam

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
)

func pools(t *testing.T, v4, v6 string) Pools {
	t.Helper()
	p, err := ParsePools(&controllerv1.Fleet{PoolIpv4: v4, PoolIpv6: v6})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParsePoolsRefuses(t *testing.T) {
	for _, tt := range []struct{ name, v4, v6, want string }{
		{"empty", "", "fd00::/64", "address pool"},
		{"host bits", "10.0.0.1/24", "fd00::/64", "write 10.0.0.0/24"},
		{"families swapped", "fd00::/64", "10.0.0.0/24", "wrong family"},
		{"mapped", "10.0.0.0/24", "::ffff:10.0.0.0/120", "wrong family"},
		{"too small v4", "10.0.0.0/31", "fd00::/64", "too small"},
		{"too small v6", "10.0.0.0/24", "fd00::/127", "too small"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParsePools(&controllerv1.Fleet{PoolIpv4: tt.v4, PoolIpv6: tt.v6})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	p := pools(t, "10.86.0.0/16", "fd86:0:0:ff::/64")
	for _, tt := range []struct {
		number uint32
		v4, v6 string
	}{
		{2, "10.86.0.2", "fd86:0:0:ff::2"},
		{255, "10.86.0.255", "fd86:0:0:ff::ff"},
		{256, "10.86.1.0", "fd86:0:0:ff::100"},
		{65534, "10.86.255.254", "fd86:0:0:ff::fffe"},
	} {
		v4, v6 := p.Addresses(tt.number)
		if v4 != netip.MustParseAddr(tt.v4) || v6 != netip.MustParseAddr(tt.v6) {
			t.Errorf("number %d: %s %s, want %s %s", tt.number, v4, v6, tt.v4, tt.v6)
		}
		if !p.Contains(v4) || !p.Contains(v6) {
			t.Errorf("number %d lies outside the pools", tt.number)
		}
	}
}

func TestAllocateUntilFull(t *testing.T) {
	for _, tt := range []struct {
		name, v4, v6 string
		hosts        int
		full         string
	}{
		{"IPv4 is narrow", "10.0.0.0/29", "fd00::/64", 5, "10.0.0.0/29"}, // .2 to .6
		{"IPv6 is narrow", "10.0.0.0/16", "fd00::/125", 6, "fd00::/125"}, // ::2 to ::7
		{"one host", "10.0.0.0/30", "fd00::/64", 1, "10.0.0.0/30"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, pool, seen := pools(t, tt.v4, tt.v6), &controllerv1.AddressPool{}, map[uint32]bool{}
			for range tt.hosts {
				n, err := p.Allocate(pool, time.Unix(0, 0))
				if err != nil || seen[n] || n < FirstNumber {
					t.Fatalf("number %d (seen: %t), error %v", n, seen[n], err)
				}
				seen[n] = true
			}
			_, err := p.Allocate(pool, time.Unix(0, 0))
			if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), tt.full) {
				t.Errorf("error %v, want ErrFull naming %s", err, tt.full)
			}
		})
	}
}

func TestReleasedNumbersRest(t *testing.T) {
	p, pool := pools(t, "10.0.0.0/30", "fd00::/64"), &controllerv1.AddressPool{}
	start := time.Unix(1000, 0)
	n, err := p.Allocate(pool, start)
	if err != nil {
		t.Fatal(err)
	}
	Release(pool, n, start.Add(time.Hour))

	_, err = p.Allocate(pool, start.Add(time.Hour-time.Second))
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "1970-01-01T01:16:40Z") {
		t.Fatalf("error %v, want ErrFull that says until when the number rests", err)
	}
	again, err := p.Allocate(pool, start.Add(time.Hour))
	if err != nil || again != n {
		t.Fatalf("number %d, error %v, want %d again", again, err, n)
	}
	if _, err := p.Allocate(pool, start.Add(24*time.Hour)); !errors.Is(err, ErrFull) {
		t.Fatalf("error %v: the number was given twice", err)
	}
}

// TestReleasedOutOfPool keeps a number that no host can have from being handed out.
func TestReleasedOutOfPool(t *testing.T) {
	p, pool := pools(t, "10.0.0.0/30", "fd00::/64"), &controllerv1.AddressPool{}
	Release(pool, 0, time.Unix(0, 0))
	Release(pool, 3, time.Unix(0, 0)) // the broadcast address
	n, err := p.Allocate(pool, time.Unix(10, 0))
	if err != nil || n != 2 {
		t.Fatalf("number %d, error %v, want 2", n, err)
	}
}

func TestReleasedIsBounded(t *testing.T) {
	pool := &controllerv1.AddressPool{}
	for n := range uint32(maxReleased + 10) {
		Release(pool, n+FirstNumber, time.Unix(0, 0))
	}
	if len(pool.GetReleased()) != maxReleased {
		t.Errorf("%d numbers kept, want %d", len(pool.GetReleased()), maxReleased)
	}
}
