//go:build linux

// Package contender starts one implementation of a tunnel at both ends of a bed. All are programs of their own, set up as
// their users set them up: ours by a controller or by a file of keying mode manual, wireguard-go by its socket, strongSwan by its
// configuration files and IKEv2.
package contender

import (
	"context"
	"net/netip"

	"sallyport.dev/sallyport/deploy/bench/bed"
)

// Setup is what a tunnel is to be like. An implementation that has but one kind ignores the rest of it.
type Setup struct {
	Proposal      string // in strongSwan's words; for AH an integrity algorithm
	Protocol      string // esp or ah
	Mode          string // tunnel or transport
	Encapsulation string // udp or native
	Inner, Outer  bed.Family
}

// Default is ESP in UDP over IPv4, tunnel mode, AES-128-GCM.
func Default() Setup {
	return Setup{Proposal: "aes128gcm16", Protocol: "esp", Mode: "tunnel", Encapsulation: "udp", Inner: 4, Outer: 4}
}

// fleet says whether two hosts of a fleet are protected so.
func (s Setup) fleet() bool {
	d := Default()
	d.Proposal, d.Inner = s.Proposal, s.Inner
	return s == d
}

// Address is the address of an end's traffic.
func (s Setup) Address(end int) netip.Addr {
	if s.Mode == "transport" {
		return bed.Outer(end, s.Outer)
	}
	return bed.Inner(end, s.Inner)
}

// Contender is an implementation.
type Contender interface {
	// Name is what reports call it.
	Name() string
	// Start starts it at both ends of the bed and returns when the tunnel is up. The processes are the ones that
	// carry its packets; the bed ends them.
	Start(context.Context, *bed.Bed, Setup) ([]*bed.Process, error)
}
