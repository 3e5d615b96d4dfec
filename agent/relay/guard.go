package relay

import (
	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/services/protocol/ike"
)

// Guard has the relay answer first messages that bring no good cookie by itself (RFC 7296 section 2.6), so that a flood
// of them stays here. The zero Guard demands none.
type Guard struct {
	Demanded  bool
	Now, Last ike.CookieSecret // cookies of both are good
}

// SetGuard changes the guard.
func (r *Relay) SetGuard(g Guard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.guard = g
}

// demand returns the answer to a first message without a good cookie; nil when the message may pass, and false when it
// is none. The caller holds mu.
func (r *Relay) demand(p *datagram.Packet, message []byte) (answer []byte, ok bool) {
	if !r.guard.Demanded {
		return nil, true
	}
	hello, err := ike.ParseHello(message)
	if err != nil {
		return nil, false
	}
	for _, s := range []ike.CookieSecret{r.guard.Now, r.guard.Last} {
		if s.Check(hello.Cookie, p.Remote, hello.SPI, hello.Nonce) {
			return nil, true
		}
	}
	answer, err = ike.DemandCookie(hello, r.guard.Now.Make(p.Remote, hello.SPI, hello.Nonce))
	return answer, err == nil
}
