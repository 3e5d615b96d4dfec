// Package ipam hands out overlay addresses. A host has a number, and the number is its offset in both
// address pools: host 5 is 10.86.0.5 and fd00:86::5. The state is one record, AddressPool, which the
// caller compares and bumps with every allocation, so that two controllers never give one number twice.
//
//	number  0         the network, and IPv6's subnet-router anycast address (RFC 4291 section 2.6.1)
//	        1         kept free for the fleet itself
//	        2 … last  hosts; the IPv4 pool's broadcast address lies above last
//
// A number that a deleted host gives back rests until its associations are gone everywhere, so that
// nobody receives what was sealed for the host before.
package ipam

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
)

// FirstNumber is the lowest number that a host gets.
const FirstNumber = 2

// maxReleased bounds the record: it is one etcd value, rewritten by each allocation. Numbers released
// beyond it are given up for ever, which wastes addresses and harms nobody.
const maxReleased = 1 << 14

// ErrFull says that no number is free. The error's text names the pool and says what to do.
var ErrFull = errors.New("the address pool is full")

// Pools are the fleet's overlay prefixes.
type Pools struct {
	IPv4 netip.Prefix
	IPv6 netip.Prefix
}

// ParsePools takes the pools from the fleet's record. The error names a prefix that is not canonical,
// of the wrong family or too small for a single host.
func ParsePools(fleet *controllerv1.Fleet) (Pools, error) {
	v4, err := parsePool(fleet.GetPoolIpv4(), true)
	if err != nil {
		return Pools{}, err
	}
	v6, err := parsePool(fleet.GetPoolIpv6(), false)
	if err != nil {
		return Pools{}, err
	}
	return Pools{IPv4: v4, IPv6: v6}, nil
}

func parsePool(s string, v4 bool) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("address pool %q: %w", s, err)
	case p.Addr().Is4() != v4 || p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("address pool %s is of the wrong family", p)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("address pool %s has host bits: write %s", p, p.Masked())
	case lastNumber(p) < FirstNumber:
		return netip.Prefix{}, fmt.Errorf("address pool %s is too small for a host", p)
	}
	return p, nil
}

// lastNumber is the highest offset in p that a host may have.
func lastNumber(p netip.Prefix) uint32 {
	hostBits := p.Addr().BitLen() - p.Bits()
	switch {
	case hostBits >= 32:
		return math.MaxUint32 - 1
	case p.Addr().Is4():
		return uint32(max(int64(1)<<hostBits-2, 0)) // the last one is the broadcast address
	}
	return uint32(int64(1)<<hostBits - 1)
}

// narrow is the pool that is full first, and its last number.
func (p Pools) narrow() (netip.Prefix, uint32) {
	if l4, l6 := lastNumber(p.IPv4), lastNumber(p.IPv6); l6 < l4 {
		return p.IPv6, l6
	} else {
		return p.IPv4, l4
	}
}

// Contains reports whether a lies in a pool.
func (p Pools) Contains(a netip.Addr) bool { return p.IPv4.Contains(a) || p.IPv6.Contains(a) }

// Addresses returns the overlay addresses of the host with that number, which Allocate gave.
func (p Pools) Addresses(number uint32) (v4, v6 netip.Addr) {
	return offset(p.IPv4.Addr(), number), offset(p.IPv6.Addr(), number)
}

func offset(base netip.Addr, n uint32) netip.Addr {
	b := base.AsSlice()
	for i, carry := len(b)-1, uint64(n); i >= 0 && carry > 0; i-- {
		carry += uint64(b[i])
		b[i] = byte(carry)
		carry >>= 8
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Allocate takes a number out of pool: the first released one that has rested, else the lowest that
// was never used. It changes pool. The error is ErrFull.
func (p Pools) Allocate(pool *controllerv1.AddressPool, now time.Time) (uint32, error) {
	narrow, last := p.narrow()
	for i, r := range pool.GetReleased() {
		if !now.Before(r.GetFreeTime().AsTime()) && r.GetNumber() >= FirstNumber && r.GetNumber() <= last {
			pool.Released = append(pool.Released[:i:i], pool.Released[i+1:]...)
			return r.GetNumber(), nil
		}
	}
	number := max(pool.GetNext(), FirstNumber)
	if number > last {
		return 0, full(narrow, last, pool)
	}
	pool.Next = number + 1
	return number, nil
}

func full(narrow netip.Prefix, last uint32, pool *controllerv1.AddressPool) error {
	resting := ""
	for i, r := range pool.GetReleased() {
		if t := r.GetFreeTime().AsTime().UTC(); i == 0 {
			resting = fmt.Sprintf("; %d addresses of deleted hosts rest, the first until %s",
				len(pool.GetReleased()), t.Format(time.RFC3339))
		}
	}
	return fmt.Errorf("%w: %s has %d addresses for hosts and each is taken%s: delete hosts that are gone, or begin a fleet with a larger pool",
		ErrFull, narrow, last-FirstNumber+1, resting)
}

// Release gives a number back; it rests until free. It changes pool. Number 0, which no host has, is
// ignored.
func Release(pool *controllerv1.AddressPool, number uint32, free time.Time) {
	if number < FirstNumber || len(pool.GetReleased()) >= maxReleased {
		return
	}
	pool.Released = append(pool.Released, &controllerv1.AddressPool_Released{
		Number: number, FreeTime: timestamppb.New(free),
	})
}
