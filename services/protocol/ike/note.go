package ike

import (
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// Note is one line of the record of an exchange, in order: what was offered, chosen or refused. It holds no secret.
type Note struct {
	At        time.Time
	Exchange  ikewire.ExchangeType // 0: of none
	MessageID uint32
	Ours      bool // this end began the exchange
	Event     Event
	Reason    Reason   // of Refused, Failed and Ended
	Child     string   // name of the child policy that it is about
	Offered   []string // proposals, selectors or methods of whoever asked, for people
	Chosen    []string // of whoever answered
	Detail    string
}

// Event is what a Note tells.
type Event string

// Events.
const (
	Asked    Event = "asked"    // this end sent a request
	Answered Event = "answered" // the exchange has done what it was for
	Refused  Event = "refused"  // this end said no
	Failed   Event = "failed"   // the peer said no, or did not answer
	Retried  Event = "retried"  // COOKIE, INVALID_KE_PAYLOAD, TEMPORARY_FAILURE: once more
	Repeated Event = "repeated" // a retransmission
	Collided Event = "collided" // both ends did the same at once; Detail says whose stays
	Made     Event = "made"     // a child or an IKE SA
	Ended    Event = "ended"    // a child or an IKE SA
	Moved    Event = "moved"    // to other addresses
	Told     Event = "told"     // a notify that changes nothing but is worth knowing
)
