package ike

import (
	"errors"
	"fmt"
)

// Reason says, for programs, why something was refused or ended.
type Reason string

// Reasons.
const (
	NoReason             Reason = ""
	Malformed            Reason = "malformed"           // INVALID_SYNTAX
	NotAuthentic         Reason = "not authentic"       // the ICV is wrong, or it is in clear
	UnknownSPI           Reason = "unknown SPI"         // not of this machine
	WrongDirection       Reason = "wrong direction"     // the initiator flag is not the peer's
	Reflected            Reason = "reflected"           // our own SPI, nonce or message
	OldMessage           Reason = "old message"         // its message ID is past
	FutureMessage        Reason = "future message"      // outside of the window
	BusyMessage          Reason = "being answered"      // a retransmission of what is not yet answered
	UnexpectedExchange   Reason = "unexpected exchange" // not in this state
	CriticalPayload      Reason = "unknown critical payload"
	NoProposalChosen     Reason = "no proposal chosen"
	InvalidKE            Reason = "other key exchange wanted"
	BadPublicValue       Reason = "bad public value"
	AuthenticationFailed Reason = "authentication failed"
	TSUnacceptable       Reason = "traffic selectors unacceptable"
	SinglePairRequired   Reason = "single pair required"
	TemporaryFailure     Reason = "temporary failure"
	ChildNotFound        Reason = "no such child SA"
	NoAdditionalSAs      Reason = "no additional SAs"
	AddressFailure       Reason = "no internal address"
	PeerRefused          Reason = "refused by the peer" // any other error notify
	PeerDead             Reason = "no answer"
	PeerDeleted          Reason = "deleted by the peer"
	LocallyDeleted       Reason = "deleted by a command"
	Replaced             Reason = "replaced"
	Redundant            Reason = "redundant after a collision"
	Expired              Reason = "lifetime over"
	HalfOpenTimeout      Reason = "not authenticated in time"
	PPKRequired          Reason = "PPK required"
	WasRedirected        Reason = "redirected"
	CookieWanted         Reason = "cookie wanted"
	TooMany              Reason = "too many"
	Closing              Reason = "closing"
)

// Rejection is why a datagram was dropped. The machine is as it was before.
type Rejection struct {
	Reason Reason
	Err    error // detail; may be nil
}

// Error gives the reason and its detail.
func (r *Rejection) Error() string {
	if r.Err == nil {
		return "ike: " + string(r.Reason)
	}
	return fmt.Sprintf("ike: %s: %v", r.Reason, r.Err)
}

// Unwrap returns the detail.
func (r *Rejection) Unwrap() error { return r.Err }

func reject(r Reason, format string, args ...any) error {
	return &Rejection{Reason: r, Err: fmt.Errorf(format, args...)}
}

var (
	// ErrClosed: the machine is at its end.
	ErrClosed = errors.New("ike: the machine is closed")
	// ErrStale: the command answers a question that is not open.
	ErrStale = errors.New("ike: no such question is open")
	// ErrNotFound: the command names a child or a policy that there is not.
	ErrNotFound = errors.New("ike: not found")
	// ErrNotPossible: the peer, or this state, does not allow the command.
	ErrNotPossible = errors.New("ike: not possible")
	// ErrConfig: the configuration cannot work.
	ErrConfig = errors.New("ike: bad configuration")
	// ErrSnapshot: the bytes are no snapshot of this version.
	ErrSnapshot = errors.New("ike: bad snapshot")
)
