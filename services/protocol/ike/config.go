package ike

import (
	"io"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// Config is what a Machine needs from its surroundings. No field but Policy is part of a snapshot.
type Config struct {
	Random io.Reader // nonces, private keys, IVs; a failed read fails the call
	// Token is the fencing token of whoever runs the machine now: SK payloads' IVs begin with it, so no two runners of
	// one machine may have the same.
	Token uint32
	// NewIKESPI and NewChildSPI return SPIs for this end, never zero and, of a child, above 255. Their bits are the
	// caller's: it may keep a shard in them.
	NewIKESPI   func() (ikewire.IKESPI, error)
	NewChildSPI func() (uint32, error)
	Policy      Policy // Restore ignores it: a snapshot has its own
}

// Policy is what this end wants of one peer. A responder begins with one for the addresses and gets the peer's own
// with PeerVerified.
type Policy struct {
	LocalID   ikewire.Identification
	RemoteID  ikewire.Identification // IDr that an initiator asks for; Type 0: it does not ask
	Proposals []Proposal             // of the IKE SA, best first; not empty
	Children  []ChildPolicy          // the first is made by IKE_AUTH, unless Childless
	// Childless: an initiator's IKE_AUTH makes no child (RFC 6023) when the peer can do without.
	Childless      bool
	InitialContact bool                    // an initiator says INITIAL_CONTACT
	Hashes         []ikewire.HashAlgorithm // for SIGNATURE_HASH_ALGORITHMS, best first
	CertRequests   []ikewire.CERTREQ       // that a responder sends with IKE_SA_INIT; an initiator's come with AUTHSigned
	ForceNAT       bool                    // says that there is a NAT, so that ESP goes in UDP
	MOBIKE         bool                    // RFC 4555
	Redirects      bool                    // an initiator follows REDIRECT (RFC 5685)
	RedirectedFrom ikewire.Redirect        // an initiator that was redirected says by whom; zero: it was not
	PPK            PPKPolicy               // RFC 8784
	// Request is what an initiator asks for in CFG_REQUEST (RFC 7296 section 3.15). Empty: it does not ask.
	Request []ikewire.ConfigAttribute
	// MTU is the most bytes of a datagram, without IP and UDP, before RFC 7383 cuts it. 0: 1232, or 548 over IPv4.
	MTU int
	// MaxChildren bounds the children that the peer can make; 0: 1024.
	MaxChildren int
	Timing      Timing
}

// Proposal is one proposal of ours. Transforms of one type are in the order of preference.
type Proposal struct {
	Protocol   ikewire.ProtocolID
	Transforms []ikewire.Transform
}

// Mode is how a child wraps packets.
type Mode uint8

// Modes.
const (
	Tunnel          Mode = iota
	Transport            // nothing else will do
	PreferTransport      // transport when the peer agrees
)

// ChildPolicy is one kind of child SA. A child's Name is how commands and actions speak of it.
type ChildPolicy struct {
	Name          string
	Proposals     []Proposal // ESP or AH, best first; a KE transform is used by CREATE_CHILD_SA, not by IKE_AUTH
	Local, Remote []ikewire.TrafficSelector
	Mode          Mode
	// LocalDynamic, RemoteDynamic: in place of Local or Remote stand the addresses of the configuration payload, or
	// without them those of the IKE SA.
	LocalDynamic, RemoteDynamic bool
	SinglePair                  bool          // a responder allows one pair of addresses in a child (SINGLE_PAIR_REQUIRED)
	Rekey, Lifetime             time.Duration // after installation; 0: never. Rekey is varied by up to a tenth.
	Reestablish                 bool          // made again by us when it is lost but by a command of ours
}

// PPKPolicy is RFC 8784's: an initiator's key, or a responder's demand.
type PPKPolicy struct {
	ID       ikewire.PPKID // Type 0: an initiator has none; a responder's comes with PPKFound
	Key      Secret
	Use      bool // a responder says USE_PPK
	Required bool // without it there is no IKE SA
}

// Timing is durations of the IKE SA. Zero values are replaced by the defaults named here.
type Timing struct {
	Rekey    time.Duration // 0: never. Varied by up to a tenth.
	Lifetime time.Duration // then the IKE SA is closed; 0: never
	Reauth   time.Duration // then Reauthenticate is an action; 0: never
	DPD      time.Duration // without a message from the peer; 0: never
	HalfOpen time.Duration // until authenticated; 30 s
	// The n-th retransmission of a request (from 0) comes RetransmitBase * 1.8^n after the last; 2 s, at most 60 s. After
	// Retransmits (7) of them the peer is dead.
	RetransmitBase time.Duration
	Retransmits    int
	Retry          time.Duration // after TEMPORARY_FAILURE, doubled each time; 2 s
	Linger         time.Duration // of a replaced SA that the peer does not delete; 60 s
}
