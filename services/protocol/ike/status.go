package ike

import (
	"net/netip"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// Status is what there is, for people.
type Status struct {
	Phase             string // half-open, established, closing, closed
	Initiator         bool
	LocalID, RemoteID ikewire.Identification
	Path              Path
	NATLocal          bool         // this end is behind a NAT
	NATRemote         bool         // the other one is
	PeerAddresses     []netip.Addr // others that the peer has told of (RFC 4555)
	IKE               string       // the proposal in use
	Established       time.Time
	Rekey             time.Time // next of the IKE SA; zero: never
	Children          []Child
	Waiting           []string // exchanges that wait for another
}

// Status describes the machine.
func (m *Machine) Status() Status {
	s := Status{Phase: m.Phase.String(), Initiator: m.Initiator, LocalID: m.Policy.LocalID, RemoteID: m.Peer.RemoteID,
		Path: m.Path, NATLocal: m.Peer.NATLocal, NATRemote: m.Peer.NATRemote, PeerAddresses: m.Peer.Additional, Established: m.Born}
	if m.Phase != closed {
		s.IKE, s.Rekey = m.current().Chosen, m.current().RekeyAt
	}
	for _, c := range m.Children {
		s.Children = append(s.Children, c.Child)
	}
	for _, t := range m.Work {
		s.Waiting = append(s.Waiting, string(t.Kind))
	}
	return s
}

// SPIs are those of one IKE SA.
type SPIs struct {
	Local, Remote ikewire.IKESPI
	Initiator     bool // this end is its original initiator
}

// SPIs returns those of all IKE SAs that there are, the current one first: datagrams with one of them are this
// machine's. They change with every rekey.
func (m *Machine) SPIs() []SPIs {
	var all []SPIs
	for _, sa := range m.SAs {
		all = append(all, SPIs{sa.local(), sa.remote(), sa.Initiator})
	}
	return all
}
