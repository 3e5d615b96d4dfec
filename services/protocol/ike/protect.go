package ike

import (
	"errors"

	"sallyport.dev/sallyport/services/protocol/ikekeys"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// protection is both directions of an IKE SA's messages.
type protection struct{ seal, open *ikekeys.Protection }

// protection makes the ciphers of an IKE SA, or returns those that there are.
func (m *Machine) protection(sa *ikeSA) (*protection, error) {
	if sa.cipher != nil {
		return sa.cipher, nil
	}
	keys, err := sa.keys()
	if err != nil {
		return nil, err
	}
	ours, theirs, err := keys.Protections(m.cfg.Token)
	if err != nil {
		return nil, err
	}
	if !sa.Initiator {
		ours, theirs = theirs, ours
	}
	if err := ours.Restore(sa.Sealed); err != nil {
		return nil, err
	}
	sa.cipher = &protection{ours, theirs}
	return sa.cipher, nil
}

// Datagrams of no more than that pass everywhere, IP and UDP headers not counted (RFC 7383 section 2.5.1).
const (
	mtuIPv6 = 1280 - 40 - 8
	mtuIPv4 = 576 - 20 - 8
)

func (m *Machine) mtu(p Path) int {
	switch {
	case m.Policy.MTU > 0:
		return m.Policy.MTU
	case p.Remote.Addr().Unmap().Is4():
		return mtuIPv4
	}
	return mtuIPv6
}

// seal makes the datagrams of a message: one, or fragments when it is long and the peer takes them. first is what
// IKE_INTERMEDIATE authenticates of it (RFC 9242 section 3.3.2).
func (m *Machine) seal(sa *ikeSA, h ikewire.Header, p Path, inside []ikewire.Payload) (all [][]byte, first []byte, err error) {
	cipher, err := m.protection(sa)
	if err != nil {
		return nil, nil, err
	}
	one, err := ikewire.Seal(h, nil, inside, cipher.seal.Sizes())
	if err != nil {
		return nil, nil, err
	}
	envelopes := []ikewire.Envelope{one}
	if mtu := m.mtu(p); m.Peer.Fragments && len(one.Message) > mtu {
		if envelopes, err = ikewire.SealFragments(h, nil, inside, cipher.seal.Sizes(), mtu); err != nil {
			return nil, nil, err
		}
	}
	text, err := ikewire.AppendPayloads(nil, inside)
	if err != nil {
		return nil, nil, err
	}
	first = one.Intermediate(text)
	for _, e := range envelopes {
		if err := cipher.seal.Seal(e); err != nil {
			return nil, nil, err
		}
		all = append(all, e.Message)
	}
	sa.Sealed = cipher.seal.State()
	return all, first, nil
}

// opened is a message of the peer whose ICV was right.
type opened struct {
	Header   ikewire.Header
	Envelope ikewire.Envelope
	Text     []byte // of the envelope, without padding
}

// open verifies and decrypts a message. It changes nothing. Errors: *Rejection.
func (m *Machine) open(sa *ikeSA, msg *ikewire.Message) (opened, error) {
	cipher, err := m.protection(sa)
	if err != nil {
		return opened{}, err
	}
	e, encrypted, err := msg.Envelope(cipher.open.Sizes())
	switch {
	case !encrypted:
		return opened{}, reject(NotAuthentic, "%s in clear", msg.Header.Exchange)
	case err != nil:
		return opened{}, malformed(err)
	case len(msg.Payloads) > 1:
		return opened{}, reject(Malformed, "payloads outside of SK")
	case e.Total > 0 && !m.Peer.Fragments:
		return opened{}, reject(Malformed, "a fragment, which was not agreed on")
	}
	text, err := cipher.open.Open(e)
	if errors.Is(err, ikekeys.ErrNotAuthentic) {
		return opened{}, &Rejection{NotAuthentic, err}
	}
	if err != nil {
		return opened{}, malformed(err)
	}
	return opened{msg.Header, e, text}, nil
}

// whole is a message of which all is there.
type whole struct {
	Header       ikewire.Header
	First        ikewire.PayloadType
	Inside       []byte
	Intermediate []byte // what IKE_INTERMEDIATE authenticates
	Raw          []byte // the datagram that completed it
}

// gather adds a message, or a fragment, to what has come of it. done is false until all is there.
func gather(parts *ikewire.Reassembly, o opened) (w whole, done bool, err error) {
	w.Header, w.Raw = o.Header, o.Envelope.Message
	if o.Envelope.Total == 0 {
		*parts = ikewire.Reassembly{}
		w.First, w.Inside = o.Envelope.Next, o.Text
		w.Intermediate = o.Envelope.Intermediate(o.Text)
		return w, true, nil
	}
	w.Inside, w.First, done, err = parts.Add(o.Envelope, o.Text)
	if err != nil {
		return whole{}, false, malformed(err)
	}
	if done {
		*parts = ikewire.Reassembly{}
		w.Intermediate = reassembled(w)
	}
	return w, done, nil
}

// reassembled is what IKE_INTERMEDIATE authenticates of a message that came in fragments: as if it had not.
func reassembled(w whole) []byte {
	data := append([]byte{0}, w.Inside...)
	msg := ikewire.Message{Header: w.Header, Payloads: []ikewire.Payload{ikewire.SK{Next: w.First, Data: data}}}
	raw, err := msg.Append(nil)
	if err != nil {
		return nil
	}
	parsed, err := ikewire.Parse(raw)
	if err != nil {
		return nil
	}
	e, _, err := parsed.Envelope(ikewire.Sizes{IV: 1})
	if err != nil {
		return nil
	}
	return e.Intermediate(w.Inside)
}
