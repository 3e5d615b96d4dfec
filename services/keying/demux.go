package keying

import (
	"errors"

	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// Bounds of what is not authenticated.
const (
	// maxBegun is how many IKE SAs may be half open, and maxBegunOf how many of one source address.
	maxBegun   = 1024
	maxBegunOf = 16
	// cookiesFrom is how many make us demand cookies (RFC 7296 section 2.6).
	// cookiesFromOf is how many of one source make us demand them of that source: whoever forges an address fills no more.
	cookiesFrom   = 128
	cookiesFromOf = maxBegunOf / 2
)

// receive brings a datagram to its machine.
func (r *reign) receive(host string, path ike.Path, datagram []byte) {
	h, err := ikewire.ParseHeader(datagram)
	if err != nil {
		return // a version that nobody speaks, or no IKE
	}
	own := h.ResponderSPI
	if !h.Flags.Initiator() {
		own = h.InitiatorSPI
	}
	if own.IsZero() {
		r.begin(host, path, h.InitiatorSPI, datagram)
		return
	}
	r.mu.Lock()
	a := r.bySPI[own]
	r.mu.Unlock()
	if a == nil || a.host != host {
		return // RFC 7296 section 2.21.4 allows to answer INVALID_IKE_SPI, but does not ask for it
	}
	a.packet(path, datagram)
}

// begin takes the first message of an IKE SA.
func (r *reign) begin(host string, path ike.Path, spi ikewire.IKESPI, datagram []byte) {
	key := beginning{host, path, spi}
	r.mu.Lock()
	known := r.begun[key]
	total, ofSource := 0, 0
	for b := range r.begun {
		total++
		if b.path.Remote.Addr() == path.Remote.Addr() {
			ofSource++
		}
	}
	r.mu.Unlock()
	if known != nil {
		known.packet(path, datagram) // the machine knows what it has answered
		return
	}
	if total >= maxBegun || ofSource >= maxBegunOf {
		return
	}
	candidates := r.candidates(host, path.Remote.Addr())
	if len(candidates) == 0 {
		return // there is no peer at that address: nobody is told that somebody listens
	}
	if (total >= cookiesFrom || ofSource >= cookiesFromOf) && !r.cookies.pass(r, host, path, datagram) {
		return
	}
	r.respond(key, candidates, datagram)
}

// respond makes a machine for an IKE_SA_INIT request.
func (r *reign) respond(key beginning, candidates []Candidate, datagram []byte) {
	policy, err := r.policy(candidates[0], key.host, key.path.Local.Addr())
	if err != nil {
		r.records.fail(candidates[0].Name, r.now(), "the peer's spec makes no policy: "+err.Error())
		return
	}
	m, reply, err := ike.Respond(r.now(), r.machineConfig(policy), key.path, datagram)
	if m == nil {
		if reply != nil {
			r.relays.send(key.host, key.path, [][]byte{reply})
		}
		if rejection, ok := errors.AsType[*ike.Rejection](err); ok {
			r.records.refused(candidates[0].Name, r.now(), rejection)
		}
		return
	}
	a := r.newAssociation(m, key.host)
	a.candidates, a.key = candidates, &key
	r.mu.Lock()
	r.begun[key] = a
	r.mu.Unlock()
	r.start(a)
}
