package ike

import (
	"net/netip"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// phase is where a machine is in its life. Only the become… methods change it.
type phase uint8

const (
	halfOpen    phase = iota // nobody has proven anything
	established              // the peer is authenticated
	closing                  // the peer has deleted it: only the last answer is repeated, until EndAt
	closed
)

func (p phase) String() string {
	switch p {
	case halfOpen:
		return "half-open"
	case established:
		return "established"
	case closing:
		return "closing"
	}
	return "closed"
}

// state is the whole of a machine: what a snapshot holds. Fields are exported for the encoding only.
type state struct {
	Phase     phase
	Initiator bool // this end began the first IKE SA
	Policy    Policy
	Path      Path
	SAs       []*ikeSA // the current one first
	Children  []*child // in the order in which they were made
	Handshake *handshake
	Work      []task    // exchanges that wait for the window, or for their time
	Pending   []Action  `json:"-"` // not yet done; encoded apart
	Open      []Action  `json:"-"` // questions without an answer; encoded apart
	LastID    uint64    // of children and questions
	Peer      peer      // what the other end is and can
	Born      time.Time // authenticated
	Heard     time.Time // last message of the peer that was authentic
	ReauthAt  time.Time // zero: never
	EndAt     time.Time // hard lifetime of the IKE SA; zero: never
	Failing   time.Time // since when the peer answers TEMPORARY_FAILURE only; zero: it does not
	CloseWhy  Reason
	Probing   *Path // where a changed source address is being checked
}

// peer is what the other end has said of itself.
type peer struct {
	LocalID, RemoteID   ikewire.Identification
	Fragments           bool // RFC 7383, both ends
	MOBIKE              bool // RFC 4555, both ends
	Childless           bool // RFC 6023
	Redirects           bool // RFC 5685: an initiator that follows REDIRECT
	Intermediate        bool // RFC 9242, both ends
	PPK                 bool // USE_PPK from both ends
	PPKUsed             bool
	HTTPCertLookup      bool
	InitialContact      bool
	NATLocal, NATRemote bool
	SupportsNAT         bool // it sent NAT_DETECTION
	Hashes              []ikewire.HashAlgorithm
	Methods             []ikewire.AuthAnnouncement
	CertRequests        []ikewire.CERTREQ
	Configuration       []ikewire.ConfigAttribute // what was given in CFG_REPLY, to us or by us
	Additional          []netip.Addr              // its other addresses, RFC 4555 section 3.6
}

// udp says whether ESP goes in UDP: there is a NAT between the two ends.
func (s *state) udp() bool { return s.Peer.NATLocal || s.Peer.NATRemote }

func (s *state) nextID() uint64 {
	s.LastID++
	return s.LastID
}

// current is the IKE SA on which new exchanges of this end begin.
func (s *state) current() *ikeSA { return s.SAs[0] }
