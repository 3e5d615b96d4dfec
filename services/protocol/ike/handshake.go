package ike

import (
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// handshake is what is needed until the IKE SA is established.
type handshake struct {
	Began     time.Time
	Ni, Nr    key
	InitI     key // exact bytes of the IKE_SA_INIT request, the last one
	InitR     key // of its response
	Cookie    []byte
	Cookies   int // COOKIE demands that were obeyed
	KERetries int // INVALID_KE_PAYLOAD that were obeyed
	Public    []byte
	Offer     offer // of the IKE SA
	Child     offer // of the first child
	Childless bool  // IKE_AUTH makes no child

	Steps  []uint16 // RFC 9370: methods of the key exchanges that are yet to be done in IKE_INTERMEDIATE
	IntI   key      // RFC 9242 section 3.3.2: IntAuth of what the initiator has sent so far
	IntR   key
	Last   key    // exact bytes of the last IKE_INTERMEDIATE request, or of its first fragment
	AuthID uint32 // message ID of IKE_AUTH

	PlainKeys key // those without the PPK
	TriedPPK  bool
	Asked     bool // CFG_REQUEST was sent, or came

	// The responder's, between IKE_AUTH's request and its answer.
	Assigned []ikewire.ConfigAttribute
	NoAddr   string // why there are none
	Lifetime time.Duration
	// The initiator's, while the peer is being verified: the answer of IKE_AUTH.
	First  ikewire.PayloadType
	Answer key
}
