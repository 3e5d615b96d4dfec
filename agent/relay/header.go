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

// classify reads the header of a peer's message. It returns false for what no IKE SA can have sent.
func (r *Relay) classify(message []byte) (class, bool) {
	h, err := ikewire.ParseHeader(message)
	if err != nil || h.InitiatorSPI.IsZero() {
		return 0, false
	}
	own := spi(h, false)
	switch {
	case r.known.has(own):
		return established, true
	case h.ResponderSPI.IsZero() && h.Flags.Response():
		return begun, h.Exchange == ikewire.IKESAInit // COOKIE, INVALID_KE_PAYLOAD, NO_PROPOSAL_CHOSEN
	case h.ResponderSPI.IsZero():
		return initial, h.Exchange == ikewire.IKESAInit && h.MessageID == 0
	}
	return begun, true
}
