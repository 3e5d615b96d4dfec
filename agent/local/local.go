// Package local is the agent's unix socket: what runs here, for sallyport-agent's own commands. It
// answers HTTP GET with JSON, reads only, and shows no key.
package local

import (
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/uplink"
)

// Socket is the name of the socket in the run directory.
const Socket = "agent.sock"

// Status is how the agent stands.
type Status struct {
	Version string `json:"version"`
	// Manual is the file with the keys in keying mode manual, which has no uplink.
	Manual string        `json:"manual,omitempty"`
	Uplink uplink.Status `json:"uplink"`
	// Addresses are the overlay addresses.
	Addresses []string `json:"addresses"`
	// Pairs are the hosts that this one may speak with, and PairsUp those with associations both ways.
	Pairs   int `json:"pairs"`
	PairsUp int `json:"pairs_up"`
	// Associations are the SAs installed, both directions.
	Associations int `json:"associations"`
	// AloneSeconds is how long every pair that is up lasts without the controller; 0 when none is up.
	AloneSeconds int64  `json:"alone_seconds"`
	Peers        []Peer `json:"peers"`
}

// Peer is one pair.
type Peer struct {
	Host string `json:"host"`
	Pair string `json:"pair"`
	// Remote is where packets go; "" while that is not known.
	Remote string `json:"remote"`
	// Up is true when both directions have an association.
	Up bool `json:"up"`
	// InboundGeneration and OutboundGeneration are the newest installed; 0 if there is none.
	InboundGeneration  uint32 `json:"inbound_generation"`
	OutboundGeneration uint32 `json:"outbound_generation"`
	// ReceivedSecondsAgo is the time since the last authenticated packet; -1 if there was none.
	ReceivedSecondsAgo int64 `json:"received_seconds_ago"`
}

// Association is one SA. Its key is not shown anywhere.
type Association struct {
	ID         string `json:"id"`
	Pair       string `json:"pair"`
	Host       string `json:"host"`
	Direction  string `json:"direction"` // "in" or "out"
	SPI        uint32 `json:"spi"`
	Generation uint32 `json:"generation"`
	Protocol   string `json:"protocol"` // "esp" or "ah"
	Mode       string `json:"mode"`     // "tunnel" or "transport"
	// Encapsulation is "udp", or "native" for IP protocol 50 or 51.
	Encapsulation string `json:"encapsulation"`
	// Proposal are the transforms in the words of policies.
	Proposal   string `json:"proposal"`
	Encryption uint16 `json:"encryption"` // IANA's number
	KeyBits    uint16 `json:"key_bits"`
	Integrity  uint16 `json:"integrity"` // IANA's number
	ESN        bool   `json:"esn"`
	// MTU is what the path takes whole, outer header included, bytes; outbound only.
	MTU int `json:"mtu,omitempty"`
	// Replayed and Forged are packets dropped for that; inbound only.
	Replayed   uint64 `json:"replayed"`
	Forged     uint64 `json:"forged"`
	Packets    uint64 `json:"packets"`
	Bytes      uint64 `json:"bytes"`
	Sequence   uint64 `json:"sequence"`
	AgeSeconds int64  `json:"age_seconds"`
	// LeftSeconds is the time until the hard limit.
	LeftSeconds int64 `json:"left_seconds"`
	Soft        bool  `json:"soft"` // past its soft limit
}

// Counters are totals since the agent's start; the guard's since it was first set up.
type Counters struct {
	OutPackets uint64            `json:"out_packets"`
	OutBytes   uint64            `json:"out_bytes"`
	InPackets  uint64            `json:"in_packets"`
	InBytes    uint64            `json:"in_bytes"`
	Dummies    uint64            `json:"dummies_sent"`
	Keepalives uint64            `json:"keepalives_sent"`
	TooBigs    uint64            `json:"too_bigs_sent"`
	PathErrors uint64            `json:"path_errors"`
	Drops      map[string]uint64 `json:"drops"`
	Guard      map[string]uint64 `json:"guard"`
}

// Summarise makes the status of what the datapath tells.
func Summarise(version string, up uplink.Status, addresses []string, pairs []datapath.PairStatus, sas []datapath.SAStatus) Status {
	s := Status{Version: version, Uplink: up, Addresses: addresses, Pairs: len(pairs), Associations: len(sas), Peers: []Peer{}}
	for _, p := range pairs {
		peer := Peer{
			Host: p.RemoteHost, Pair: p.ID.String(), InboundGeneration: p.InboundGeneration,
			OutboundGeneration: p.OutboundGeneration, Up: p.InboundGeneration > 0 && p.OutboundGeneration > 0, ReceivedSecondsAgo: -1,
		}
		if p.Remote.IsValid() {
			peer.Remote = p.Remote.String()
		}
		if p.Received {
			peer.ReceivedSecondsAgo = int64(p.SinceReceived / time.Second)
		}
		if peer.Up {
			s.PairsUp++
		}
		s.Peers = append(s.Peers, peer)
	}
	slices.SortFunc(s.Peers, func(a, b Peer) int { return strings.Compare(a.Host, b.Host) })
	s.AloneSeconds = int64(Alone(sas) / time.Second)
	return s
}

// Alone is how long the pair that ends first lasts without a controller: the life of the newest of its
// outbound associations, which is the one that carries its traffic.
func Alone(sas []datapath.SAStatus) time.Duration {
	newest := make(map[datapath.PairID]datapath.SAStatus)
	for _, sa := range sas {
		if have, ok := newest[sa.Pair]; !sa.Inbound && (!ok || have.Generation < sa.Generation) {
			newest[sa.Pair] = sa
		}
	}
	var least time.Duration
	first := true
	for _, sa := range newest {
		if first || sa.Left < least {
			least, first = sa.Left, false
		}
	}
	return least
}

// Associations lists the SAs, those of one host together, newest generation first.
func Associations(pairs []datapath.PairStatus, sas []datapath.SAStatus) []Association {
	hosts := make(map[datapath.PairID]string, len(pairs))
	for _, p := range pairs {
		hosts[p.ID] = p.RemoteHost
	}
	out := make([]Association, 0, len(sas))
	for _, sa := range sas {
		direction := "out"
		if sa.Inbound {
			direction = "in"
		}
		a := association(sa)
		a.Host, a.Direction = hosts[sa.Pair], direction
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b Association) int {
		if c := strings.Compare(a.Host, b.Host); c != 0 {
			return c
		}
		if a.Generation != b.Generation {
			return int(b.Generation) - int(a.Generation)
		}
		return strings.Compare(a.Direction, b.Direction)
	})
	return out
}

// association is an SA without the name of its host.
func association(sa datapath.SAStatus) Association {
	return Association{
		ID: sa.ID.String(), Pair: sa.Pair.String(), SPI: sa.SPI, Generation: sa.Generation,
		Protocol: sa.Protocol.String(), Mode: sa.Mode.String(), Encapsulation: sa.Encapsulation.String(), Proposal: sa.Transform.String(),
		Encryption: sa.Transform.ID, KeyBits: sa.Transform.KeyBits, Integrity: sa.Transform.Integrity, ESN: sa.ESN,
		MTU: sa.MTU, Replayed: sa.Replayed, Forged: sa.Forged,
		Packets: sa.Packets, Bytes: sa.Bytes, Sequence: sa.Sequence, AgeSeconds: int64(sa.Age / time.Second),
		LeftSeconds: int64(sa.Left / time.Second), Soft: sa.Soft,
	}
}

// Count makes the counters of what the datapath and the guard count. Reasons that never came are left
// out.
func Count(c datapath.Counters, guard map[string]uint64) Counters {
	return Counters{
		OutPackets: c.OutPackets, OutBytes: c.OutBytes, InPackets: c.InPackets, InBytes: c.InBytes,
		Dummies: c.Dummies, Keepalives: c.Keepalives, TooBigs: c.TooBigs, PathErrors: c.PathErrors, Drops: Drops(c), Guard: guard,
	}
}

// Drops are the reasons for which packets were dropped.
func Drops(c datapath.Counters) map[string]uint64 {
	out := make(map[string]uint64)
	for _, r := range datapath.Reasons() {
		if n := c.Drops(r); n > 0 {
			out[r.String()] = n
		}
	}
	return out
}
