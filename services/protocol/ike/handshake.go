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
	Offer     offer
	Child     offer // of the first child
	Config    bool  // CFG_REQUEST was sent

	// The responder's, between IKE_AUTH's request and response.
	Auth *authRequest
	// The initiator's, between AUTHSigned and PeerVerified.
	Answer *authAnswer

	Steps       []uint16 // RFC 9370: additional key exchanges yet to do
	Method      uint16   // of the one that is under way
	IntAuth     key      // RFC 9242 section 3.3.2: what has been exchanged so far, by prf
	IntAuthI    key
	IntAuthR    key
	LastAuthID  uint32 // message ID of IKE_AUTH
	PlainKeys   *ikeKeys
	PPK         key
	UsePPK      bool
	VerifyPlain bool
}

// authRequest is what a responder keeps of IKE_AUTH while questions are open.
type authRequest struct {
	Verified bool
	Assigned []ikewire.ConfigAttribute
	Reply    bool   // Assigned is to be sent
	Failed   Reason // of the first child or of the configuration
	Lifetime uint32
}

// authAnswer is IKE_AUTH's response while VerifyPeer is open.
type authAnswer struct {
	First  ikewire.PayloadType
	Inside key
}
