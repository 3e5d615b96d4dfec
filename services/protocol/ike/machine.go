package ike

import (
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// Machine is one association. See the package's comment for the caller's contract.
type Machine struct {
	cfg Config
	state
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

// Status is what there is, for people.
type Status struct {
	Phase             string // half-open, established, closed
	Initiator         bool
	LocalID, RemoteID ikewire.Identification
	Path              Path
	IKE               string // the proposal in use
	Established       time.Time
	Rekey             time.Time // next; zero: never
	Children          []Child
	Waiting           []string // exchanges that wait for another
}
