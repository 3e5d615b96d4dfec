package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/store"
)

const (
	defaultTrustDomain = "sallyport.internal"
	defaultPoolIPv4    = "100.80.0.0/16"
)

// found reads what the fleet is for ever, or, at the very first start, decides it. Options that say otherwise than the record are refused: addresses and names have been given out.
func found(ctx context.Context, s *store.Store, o options) (*controllerv1.Fleet, error) {
	fleet := &controllerv1.Fleet{}
	_, err := store.Load(ctx, s, store.FleetKey, fleet)
	if errors.Is(err, store.ErrNotFound) {
		return firstFleet(ctx, s, o)
	}
	if err != nil {
		return nil, err
	}
	for _, c := range []struct{ flag, wanted, is string }{
		{"--trust-domain", o.trustDomain, fleet.GetTrustDomain()},
		{"--pool-ipv4", o.poolIPv4, fleet.GetPoolIpv4()},
		{"--pool-ipv6", o.poolIPv6, fleet.GetPoolIpv6()},
	} {
		if c.wanted != "" && c.wanted != c.is {
			return nil, fmt.Errorf("%s %s: this fleet was founded with %s, and it cannot change: leave the flag out", c.flag, c.wanted, c.is)
		}
	}
	return fleet, nil
}

func firstFleet(ctx context.Context, s *store.Store, o options) (*controllerv1.Fleet, error) {
	fleet := &controllerv1.Fleet{
		TrustDomain: orDefault(o.trustDomain, defaultTrustDomain),
		PoolIpv4:    orDefault(o.poolIPv4, defaultPoolIPv4),
		PoolIpv6:    o.poolIPv6,
	}
	if fleet.GetPoolIpv6() == "" {
		fleet.PoolIpv6 = uniqueLocalPrefix().String()
	}
	put, err := store.PutRecord(store.FleetKey, fleet)
	if err != nil {
		return nil, err
	}
	_, err = s.Commit(ctx, store.Txn{Compares: []store.Compare{store.Unchanged(store.FleetKey, 0)}, Puts: []store.Put{put}})
	if errors.Is(err, store.ErrConflict) {
		return found(ctx, s, o) // another controller was first
	}
	return fleet, err
}

func orDefault(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// uniqueLocalPrefix is a /64 of a random 40-bit global identifier (RFC 4193 section 3.2).
func uniqueLocalPrefix() netip.Prefix {
	var b [16]byte
	b[0] = 0xfd
	rand.Read(b[1:6]) // never fails, says crypto/rand
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}
