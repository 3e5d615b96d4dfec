package ike

import (
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikekeys"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// ikeSA is one IKE SA: SPIs, keys, and the two windows of one message each.
type ikeSA struct {
	Initiator  bool // this end is its original initiator (RFC 7296 section 2.2)
	SPIi, SPIr ikewire.IKESPI
	Suite      suiteID
	Chosen     string        // the proposal, for people
	Keys       key           // of ikekeys, marshalled
	Sealed     ikekeys.State // of the messages that this end has sent
	Out        outbound
	In         inbound
	// ReplacedBy is the local SPI of the IKE SA that the peer's rekey made of this one; zero: none. It is then waiting
	// for the peer's Delete.
	ReplacedBy ikewire.IKESPI
	// Low is the lower nonce of the exchange that made it by rekeying (RFC 7296 section 2.8.2).
	Low     key
	RekeyAt time.Time // zero: never
	// Redundant: it has lost a collision; its initiator deletes it (RFC 7296 section 2.8.2).
	Redundant bool
	Linked    *pendingSA // what IKE_FOLLOWUP_KE exchanges of the peer are to complete
	Dead      bool       // the peer has deleted it: until GoneAt it only repeats its last answer
	GoneAt    time.Time  // when it is dropped unless the peer deletes it before; zero: not

	cipher *protection // made of Keys when needed
}

// outbound is the window of requests that this end sends.
type outbound struct {
	NextID  uint32
	Request *request // unanswered; nil: the window is free
	Parts   ikewire.Reassembly
}

// inbound is the window of requests that the peer sends.
type inbound struct {
	NextID   uint32   // the one that is expected
	Response [][]byte // exact bytes of the answer to NextID-1; nil: there is none yet
	Asked    *asked   // request NextID, not yet answered because a question is open
	Parts    ikewire.Reassembly
}

// asked is a request whose answer waits for a command.
type asked struct {
	Header ikewire.Header
	Path   Path
	First  ikewire.PayloadType
	Inside key
}

// key is bytes that are secret and of the snapshot only.
type key []byte

func (sa *ikeSA) local() ikewire.IKESPI {
	if sa.Initiator {
		return sa.SPIi
	}
	return sa.SPIr
}

func (sa *ikeSA) remote() ikewire.IKESPI {
	if sa.Initiator {
		return sa.SPIr
	}
	return sa.SPIi
}

// header is that of a message of this end.
func (sa *ikeSA) header(x ikewire.ExchangeType, id uint32, response bool) ikewire.Header {
	h := ikewire.Header{InitiatorSPI: sa.SPIi, ResponderSPI: sa.SPIr, Exchange: x, MessageID: id}
	if sa.Initiator {
		h.Flags |= ikewire.FlagInitiator
	}
	if response {
		h.Flags |= ikewire.FlagResponse
	}
	return h
}

// find returns the IKE SA that a header of the peer names.
func (s *state) find(h ikewire.Header) (*ikeSA, error) {
	for _, sa := range s.SAs {
		spi := h.InitiatorSPI
		other := h.ResponderSPI
		if !sa.Initiator {
			spi, other = other, spi
		}
		if spi != sa.local() {
			continue
		}
		if other != sa.remote() && !sa.remote().IsZero() {
			continue
		}
		if h.Flags.Initiator() == sa.Initiator {
			return nil, reject(WrongDirection, "flags %s from the peer", h.Flags)
		}
		return sa, nil
	}
	return nil, reject(UnknownSPI, "%s, %s", h.InitiatorSPI, h.ResponderSPI)
}

// byLocal returns the IKE SA with that SPI at this end, or nil.
func (s *state) byLocal(spi ikewire.IKESPI) *ikeSA {
	for _, sa := range s.SAs {
		if sa.local() == spi {
			return sa
		}
	}
	return nil
}

// drop forgets an IKE SA.
func (s *state) drop(sa *ikeSA) {
	s.SAs = slices.DeleteFunc(slices.Clone(s.SAs), func(other *ikeSA) bool { return other == sa })
}

// promote makes an IKE SA the current one.
func (s *state) promote(sa *ikeSA) {
	s.drop(sa)
	s.SAs = append([]*ikeSA{sa}, s.SAs...)
}
