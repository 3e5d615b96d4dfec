// Package datapath moves packets between a TUN device and the underlay: it looks inner packets up in the SPD,
// seals them with ESP or AH in tunnel or transport mode, and opens, checks and delivers what comes back.
//
//	TUN ─read─▶ parse ─▶ SPD ─▶ pair ─▶ outbound SA ─▶ size ─▶ seal ─▶ outbox ─▶ UDP 4500, IP 50, IP 51
//	TUN ◀─write─ SPD, selectors ◀─ parse ◀─ mode ◀─ open ◀─ SPI ◀─ demultiplex ◀─ UDP 4500, IP 50, IP 51
//
// Loops run to completion: a packet stays on the goroutine that received it, and is sealed into the memory that
// it leaves from. Whatever is not positively allowed is dropped and counted by reason (RFC 4301 section
// 4.4.2.1's audit events); nothing is logged per packet.
package datapath

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"sallyport.dev/sallyport/services/protocol/spd"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// PairID names a pair: both directions between two ends under one policy. It is random.
type PairID [16]byte

// String is the id in hexadecimal.
func (id PairID) String() string { return hex.EncodeToString(id[:]) }

// SAID names one SA. It is random and never used again.
type SAID [16]byte

// String is the id in hexadecimal.
func (id SAID) String() string { return hex.EncodeToString(id[:]) }

// Selector is one traffic selector: a range of addresses, a protocol and ports.
type Selector = spd.Selector

// PrefixSelector selects every packet from or to p.
func PrefixSelector(p netip.Prefix) Selector { return spd.Prefix(p) }

// PathSpec says where the other end is, as far as the controller knows.
type PathSpec struct {
	// Remote is the address and UDP port to send to. The zero value means that it is not known
	// yet (the other end is behind NAT): it is learned from the other end's first packets.
	// For native ESP and AH only the address counts; transport mode without one sends to the packets' own
	// destination.
	Remote netip.AddrPort
	// Local is the address of ours to send from; invalid lets the kernel choose.
	Local netip.Addr
	// Foreign says that the other end is not ours: it answers no probe, so it is sent none.
	Foreign bool
	// RemoteBehindNAT allows the path to follow the other end's changed source address, if this
	// end is not behind NAT itself.
	RemoteBehindNAT bool
	// LocalBehindNAT makes this end hold its NAT mapping open with keepalives (RFC 3948 section
	// 4) and forbids following a changed source.
	LocalBehindNAT bool
	// KeepaliveInterval is the idle time before a keepalive; zero means DefaultKeepalive.
	KeepaliveInterval time.Duration
}

// DefaultKeepalive is RFC 3948 section 4's default interval.
const DefaultKeepalive = 20 * time.Second

// Pair is what two ends may say to each other, and where the other one is. It carries no key.
type Pair struct {
	ID PairID
	// RemoteHost names the other end. Pairs with the same RemoteHost share one path.
	RemoteHost string
	// Policy is for people only.
	Policy string
	// Local and Remote are the two sides of the traffic: a packet is sent under this pair when
	// its source is in Local and its destination in Remote, and accepted the other way round.
	Local, Remote []Selector
	Path          PathSpec
	// Order places the pair's entry in the SPD among those that have one: the lowest is asked first. Zero
	// is behind all of them, where the longest remote prefix wins.
	Order uint32
	// Acquire makes traffic that finds no SA an Event; with Populate it always is one.
	Acquire bool
	// Populate says which selectors of an SA come from the packet that wants it, not from the entry (RFC 4301
	// section 4.4.1.2).
	Populate spd.Populate
}

// Rule is an SPD entry that protects nothing: it discards, or says what never has to enter the TUN.
type Rule struct {
	ID            [16]byte
	Order         uint32 // among Pair.Order's
	Bypass        bool   // else discard
	Local, Remote []Selector
}

// Protocol is the security protocol of an SA, by its IP protocol number.
type Protocol uint8

// The protocols. The zero Protocol of an SA stands for ESP.
const (
	ESP Protocol = 50 // RFC 4303
	AH  Protocol = 51 // RFC 4302
)

// String is the protocol's name in lower case.
func (p Protocol) String() string {
	switch p {
	case ESP:
		return "esp"
	case AH:
		return "ah"
	}
	return fmt.Sprintf("protocol-%d", uint8(p))
}

// Mode is the mode of an SA, RFC 4301 section 4.1.
type Mode uint8

// The modes.
const (
	Tunnel Mode = iota
	Transport
)

// String is the mode's name in lower case.
func (m Mode) String() string {
	if m == Transport {
		return "transport"
	}
	return "tunnel"
}

// Encapsulation is what carries the SA's packets.
type Encapsulation uint8

// The encapsulations.
const (
	UDP    Encapsulation = iota // ESP in UDP, RFC 3948
	Native                      // IP protocol 50 or 51
)

// String is the encapsulation's name in lower case.
func (e Encapsulation) String() string {
	if e == Native {
		return "native"
	}
	return "udp"
}

// DF says what the outer header's DF bit is, RFC 4301 section 8.1.
type DF uint8

// The choices. With DFCopy and DFSet what is too big is fragmented before it is sealed or, where its
// own DF bit forbids that, answered with an ICMP message; with DFClear it is sealed whole, and fragmented
// after.
const (
	DFCopy DF = iota
	DFSet
	DFClear
)

// NoReplayWindow turns anti-replay off, RFC 4303 section 3.4.3: only without ESN.
const NoReplayWindow = -1

// Transform names an SA's transforms by their IANA numbers (IKEv2 transform types 1 and 3).
type Transform struct {
	ID        uint16 // ENCR_…, e.g. 20 for AES-GCM with a 16-octet ICV; 0 with AH
	KeyBits   uint16 // 128, 192 or 256; 0 where the transform has one key length
	Integrity uint16 // AUTH_…, e.g. 12 for HMAC-SHA2-256-128; 0 with a combined mode
}

// String names the transforms as a proposal does: "aes128gcm16", "aes256-sha256"; with AH, "sha256".
func (t Transform) String() string {
	integrity, err := transform.IntegrityByID(t.Integrity)
	if err != nil {
		return fmt.Sprintf("%d/%d/%d", t.ID, t.KeyBits, t.Integrity)
	}
	if t.ID == 0 {
		return integrity.String()
	}
	encryption, err := encryptionByID(t, true)
	if err != nil {
		return fmt.Sprintf("%d/%d/%d", t.ID, t.KeyBits, t.Integrity)
	}
	return transform.Suite{Encryption: encryption, Integrity: integrity}.String()
}

// Lifetime bounds one SA. In each field zero means no bound of that kind.
type Lifetime struct {
	Time    time.Duration // remaining, counted on CLOCK_BOOTTIME from the installation
	Bytes   uint64        // ESP payload bytes protected under the SA
	Packets uint64
}

// SA is one security association to install. The same struct serves both directions.
type SA struct {
	ID         SAID
	Pair       PairID
	Generation uint32
	SPI        uint32
	Transform  Transform
	Protocol   Protocol
	Mode       Mode
	// Encapsulation must be Native with AH.
	Encapsulation Encapsulation
	// Insecure allows transforms that RFC 8221 says SHOULD NOT be used (3DES).
	Insecure bool
	// ESN selects 64-bit sequence numbers (RFC 4303 section 2.2.1).
	ESN bool
	// ReplayWindow is the anti-replay window in packets, inbound only; zero means
	// DefaultReplayWindow, NoReplayWindow none.
	ReplayWindow int
	// Destination and Source restrict the lookup of an inbound SA, RFC 4301 section 4.1: by SPI and outer
	// destination, or by SPI, destination and source (multicast groups). Invalid: by SPI alone.
	Destination, Source netip.Addr
	// Local and Remote narrow the pair's selectors for this SA: several SAs populated from packets can
	// serve one pair. Empty: the pair's own.
	Local, Remote []Selector
	// Key is the transforms' key material: encryption key, salt, integrity key. The datapath does not
	// keep the slice: its owner clears it after the call.
	Key        []byte
	Soft, Hard Lifetime
	// Outer says how the outer header is made, outbound only.
	Outer Outer
	// NAT are the addresses that the other end had before NAT changed them, for the inner checksums of
	// transport mode in UDP (RFC 3948 section 3.1.2, NAT-OA); inbound only. Invalid: not known.
	NAT OriginalAddresses
	// Sequence numbers the first packet of an outbound SA one above this, and Ceiling is the last
	// number that it may use before RaiseCeiling; zero means no ceiling. Keys that outlive a process
	// (manual keying) need both: no number may be used twice.
	Sequence, Ceiling uint64
}

// Outer says how an outbound SA makes its packets' outer headers, and what it adds to hide the traffic.
type Outer struct {
	DF DF
	// DSCP is set in the outer header unless CopyDSCP copies the inner one (RFC 4301 section 5.1.2).
	DSCP     uint8
	CopyDSCP bool
	// NoECN is RFC 6040's compatibility mode: the outer header says Not-ECT.
	NoECN bool
	// HopLimit is the outer TTL or hop limit of native tunnel mode; 0 means 64.
	HopLimit uint8
	// Pad fills ESP payloads shorter than this with TFC padding, RFC 4303 section 2.7; tunnel mode only.
	Pad int
	// DummyInterval sends dummy packets, RFC 4303 section 2.6, when nothing else was sent for so long; 0: none.
	DummyInterval time.Duration
	// MTU is the path MTU to begin with, outer header included; 0 means that of the link.
	MTU int
	// Align8 pads AH over IPv4 to 8 bytes, as Linux expects it without its align4 flag.
	Align8 bool
}

// OriginalAddresses are a NAT-OA payload's.
type OriginalAddresses struct{ Source, Destination netip.Addr }

// DefaultReplayWindow is the anti-replay window of an inbound SA that names none.
const DefaultReplayWindow = 2048

// String describes the SA without its key.
func (sa SA) String() string {
	return fmt.Sprintf("SA %v pair %v generation %d SPI %#08x", sa.ID, sa.Pair, sa.Generation, sa.SPI)
}

// GoString is String, so that %#v does not print the key.
func (sa SA) GoString() string { return sa.String() }

// LogValue is the SA without its key.
func (sa SA) LogValue() slog.Value { return slog.StringValue(sa.String()) }

// ErrSPIClash: another inbound SA already has this SPI. Plan again with another one.
var ErrSPIClash = errors.New("datapath: another inbound SA has this SPI")

// ErrNoPair: the SA names a pair that SetPair has not made.
var ErrNoPair = errors.New("datapath: no such pair")

// ErrNoSA: no SA in that direction has this id.
var ErrNoSA = errors.New("datapath: no such SA")

// Burnt refuses an SA whose generation is not above one that this process has already installed
// for the pair in that direction: its key may have been used. Plan Highest+1.
type Burnt struct{ Highest uint32 }

func (e *Burnt) Error() string {
	return fmt.Sprintf("datapath: generation is burnt, the highest installed is %d", e.Highest)
}

// EventKind says what an Event reports.
type EventKind uint8

// The kinds of events.
const (
	// SoftLifetime: the SA has passed its soft lifetime; a new generation is wanted. Once per SA.
	SoftLifetime EventKind = iota + 1
	// HardLifetime: the SA has reached its hard lifetime and is deleted. Once per SA.
	HardLifetime
	// PathChanged: the other end answered a probe from Addr, and packets go there now.
	PathChanged
	// Acquire: a packet wants an SA that is not there; Local and Remote are the selectors that it gives
	// (RFC 4301 section 4.4.1.2). At most one a second for a pair.
	Acquire
	// CeilingNear: half of the numbers that an outbound SA may use up to Sequence, its ceiling, are used.
	CeilingNear
)

// String is the kind's name.
func (k EventKind) String() string {
	switch k {
	case SoftLifetime:
		return "soft-lifetime"
	case HardLifetime:
		return "hard-lifetime"
	case PathChanged:
		return "path-changed"
	case Acquire:
		return "acquire"
	case CeilingNear:
		return "ceiling-near"
	}
	return fmt.Sprintf("event-%d", uint8(k))
}

// Event is something the controller wants to know.
type Event struct {
	Kind       EventKind
	SA         SAID           // SoftLifetime, HardLifetime
	Inbound    bool           // the direction of SA
	Pair       PairID         // the SA's pair; for PathChanged the pair whose SA carried the proof
	RemoteHost string         // the pair's RemoteHost
	Addr       netip.AddrPort // PathChanged

	Local, Remote Selector // Acquire
	Sequence      uint64   // CeilingNear
}

// SAStatus is one installed SA.
type SAStatus struct {
	ID         SAID
	Pair       PairID
	Inbound    bool
	Generation uint32
	SPI        uint32
	Transform  Transform
	ESN        bool

	Protocol      Protocol
	Mode          Mode
	Encapsulation Encapsulation
	// MTU is what the path takes whole, outer header included (outbound).
	MTU int
	// Replayed and Forged are packets dropped for that (inbound).
	Replayed, Forged uint64
	// Bytes and Packets protected so far.
	Bytes, Packets uint64
	// Age since installation and Left until the hard lifetime in time (zero if it has none).
	Age, Left time.Duration
	// Sequence is the last number sent, or the highest received.
	Sequence uint64
	// Idle is the time since the last packet; the age if there was none.
	Idle time.Duration
	// Soft is set once the soft lifetime has passed.
	Soft bool
}

// PairStatus is one pair and where its packets go.
type PairStatus struct {
	ID         PairID
	RemoteHost string
	// Remote is the current path; invalid while it is not known.
	Remote netip.AddrPort
	// InboundGeneration and OutboundGeneration are the newest installed; zero if there is none.
	InboundGeneration, OutboundGeneration uint32
	// Received and Sent say whether an authenticated packet was ever received from, or sent to,
	// the other end; the durations are the time since the last one.
	Received, Sent           bool
	SinceReceived, SinceSent time.Duration
}
