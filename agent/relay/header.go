package relay

import (
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// class is how much is known of the sender of a datagram.
type class uint8

const (
	established class = iota
	begun
	initial
	classes
)

// spi is the SPI of a message that this side has chosen: sent says that the message is ours. It is zero in the first
// message of a peer.
func spi(h ikewire.Header, sent bool) ikewire.IKESPI {
	if h.Flags.Initiator() == sent {
		return h.InitiatorSPI
	}
	return h.ResponderSPI
}

// afterAuthentication reports whether the controller sends messages of an exchange to authenticated peers only: one of the
// others has an SPI of anybody's who has asked.
func afterAuthentication(x ikewire.ExchangeType) bool {
	return x == ikewire.CreateChildSA || x == ikewire.Informational || x == ikewire.IKEFollowupKE
}

// classify reads the header of a peer's message, and our SPI in it. It returns false for what no IKE SA can have sent.
func (r *Relay) classify(message []byte) (c class, own ikewire.IKESPI, ok bool) {
	h, err := ikewire.ParseHeader(message)
	if err != nil || h.InitiatorSPI.IsZero() {
		return 0, own, false
	}
	own = spi(h, false)
	switch {
	case r.known.has(own):
		return established, own, true
	case h.ResponderSPI.IsZero() && h.Flags.Response():
		return begun, own, h.Exchange == ikewire.IKESAInit // COOKIE, INVALID_KE_PAYLOAD, NO_PROPOSAL_CHOSEN
	case h.ResponderSPI.IsZero():
		return initial, own, h.Exchange == ikewire.IKESAInit && h.MessageID == 0
	}
	return begun, own, true
}
