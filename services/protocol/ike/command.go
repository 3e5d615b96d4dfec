package ike

import (
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// Command is one of: PeerVerified, AUTHSigned, PPKFound, AddressesAssigned, which answer questions; CreateChild,
// RekeyChild, DeleteChild, RekeyIKE, DeleteIKE, Probe, InboundUsed, Move, Redirect, SetPolicy.
type Command interface{ command() }

// PeerVerified answers VerifyPeer. It is the only way to be authenticated.
type PeerVerified struct {
	ID       QuestionID
	Accepted bool
	Reason   string // for the record; the peer gets AUTHENTICATION_FAILED and no more
	// Policy, when not nil, replaces the machine's: what this peer may have. Its LocalID is the IDr of a responder.
	Policy *Policy
	// AuthLifetime: tell an initiator to authenticate again before (RFC 4478); 0: no limit.
	AuthLifetime time.Duration
}

// AUTHSigned answers SignAUTH. Error: ErrConfig when it holds what no payload can.
type AUTHSigned struct {
	ID           QuestionID
	Failed       string // not empty: no proof, and why; the machine closes
	AUTH         ikewire.AUTH
	WithoutPPK   []byte // authentication data for NO_PPK_AUTH
	Certificates []ikewire.CERT
	CertRequests []ikewire.CERTREQ // an initiator's
}

// PPKFound answers FindPPK. An empty Key: there is none of that name.
type PPKFound struct {
	ID  QuestionID
	Key Secret
}

// AddressesAssigned answers AssignAddresses: CFG_REPLY's attributes, or Failed, for INTERNAL_ADDRESS_FAILURE.
type AddressesAssigned struct {
	ID         QuestionID
	Failed     string
	Attributes []ikewire.ConfigAttribute
}

// CreateChild makes a child of the policy of that name. Packet, if not nil, is the packet that asks for it: it becomes
// the first selectors (RFC 7296 section 2.9).
type CreateChild struct {
	Name   string
	Packet *Packet
}

// Packet is the flow of one packet: two selectors of one address, protocol and port each.
type Packet struct{ Local, Remote ikewire.TrafficSelector }

// RekeyChild replaces the child of that ID.
type RekeyChild struct{ ID uint64 }

// DeleteChild deletes the child of that ID.
type DeleteChild struct{ ID uint64 }

// RekeyIKE replaces the IKE SA.
type RekeyIKE struct{}

// DeleteIKE deletes the IKE SA and its children, in an exchange with the peer. Given again before that is over, it ends
// the machine at once.
type DeleteIKE struct{ Why string }

// Probe asks the peer for a sign of life, now (RFC 7296 section 2.4).
type Probe struct{}

// InboundUsed: a valid packet has come on the inbound half of a child, so its initiator has it (RFC 7296 section 2.8).
type InboundUsed struct{ ID uint64 }

// Move: this end's address, or the one to send to, has changed. With MOBIKE the IKE SA and its children move (RFC 4555
// section 3.5). Error: ErrNotPossible without MOBIKE or for a responder that may not.
type Move struct {
	Path Path
	// Additional are this end's other addresses, ADDITIONAL_IP4_ADDRESS and ADDITIONAL_IP6_ADDRESS.
	Additional []ikewire.Notify
}

// Redirect sends the peer, an initiator that said REDIRECT_SUPPORTED, to another gateway (RFC 5685 section 5).
type Redirect struct{ To ikewire.Redirect }

// SetPolicy changes what the peer may have from now on. Children of policies that are no more are deleted.
type SetPolicy struct{ Policy Policy }

func (PeerVerified) command()      {}
func (AUTHSigned) command()        {}
func (PPKFound) command()          {}
func (AddressesAssigned) command() {}
func (CreateChild) command()       {}
func (RekeyChild) command()        {}
func (DeleteChild) command()       {}
func (RekeyIKE) command()          {}
func (DeleteIKE) command()         {}
func (Probe) command()             {}
func (InboundUsed) command()       {}
func (Move) command()              {}
func (Redirect) command()          {}
func (SetPolicy) command()         {}
