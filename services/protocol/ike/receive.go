package ike

import (
	"bytes"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// maxPending bounds what a peer can heap up while the caller cannot run actions.
const maxPending = 512

// HandlePacket takes a datagram, without the non-ESP marker, and keeps no reference to it. Errors: *Rejection, with
// which nothing has changed; ErrClosed; what Config's sources return, after which the machine is to be restored from
// its last snapshot.
func (m *Machine) HandlePacket(now time.Time, path Path, datagram []byte) error {
	if m.Phase == closed {
		return ErrClosed
	}
	if len(m.Pending) > maxPending {
		return reject(TooMany, "%d actions are not done", len(m.Pending))
	}
	msg, err := ikewire.Parse(bytes.Clone(datagram))
	if err != nil {
		return malformed(err)
	}
	if msg.Header.Exchange == ikewire.IKESAInit {
		err = m.receiveInit(now, path, msg)
	} else {
		err = m.receiveSealed(now, path, msg)
	}
	if err != nil {
		return err
	}
	return m.proceed(now)
}

func (m *Machine) receiveSealed(now time.Time, path Path, msg *ikewire.Message) error {
	sa, err := m.find(msg.Header)
	if err != nil {
		return err
	}
	if sa.Keys == nil {
		return reject(UnexpectedExchange, "%s before there are keys", msg.Header.Exchange)
	}
	o, err := m.open(sa, msg)
	if err != nil {
		if hs := m.Handshake; hs != nil && hs.Last != nil && bytes.Equal(msg.Raw(), hs.Last) {
			m.repeat(path, sa.In.Response) // sealed with the keys before IKE_INTERMEDIATE
			return nil
		}
		return err
	}
	if msg.Header.Flags.Response() {
		return m.receiveResponse(now, path, sa, o)
	}
	return m.receiveRequest(now, path, sa, o)
}

// receiveRequest checks the window (RFC 7296 section 2.3) and answers a request that is new.
func (m *Machine) receiveRequest(now time.Time, path Path, sa *ikeSA, o opened) error {
	id := o.Header.MessageID
	switch {
	case sa.In.Response != nil && id+1 == sa.In.NextID:
		return m.replay(path, sa, o)
	case id < sa.In.NextID:
		return reject(OldMessage, "%s request %d, %d is next", o.Header.Exchange, id, sa.In.NextID)
	case id > sa.In.NextID:
		return reject(FutureMessage, "%s request %d, %d is next", o.Header.Exchange, id, sa.In.NextID)
	case sa.In.Asked != nil:
		return reject(BusyMessage, "%s request %d", o.Header.Exchange, id)
	case sa.Dead:
		return reject(Closing, "%s on a deleted IKE SA", o.Header.Exchange)
	}
	if err := m.expects(o.Header.Exchange); err != nil {
		return err
	}
	w, done, err := gather(&sa.In.Parts, o)
	if err != nil || !done {
		return err
	}
	payloads, err := ikewire.ParsePayloads(w.First, w.Inside)
	if err != nil {
		return m.refuseSyntax(now, path, sa, w, err)
	}
	if err := m.answer(now, path, sa, w, payloads); err != nil {
		return err
	}
	m.hear(now, path, sa)
	return nil
}

// expects rejects requests of exchanges that have no place in this phase.
func (m *Machine) expects(x ikewire.ExchangeType) error {
	early := x == ikewire.IKEAuth || x == ikewire.IKEIntermediate
	late := x == ikewire.CreateChildSA || x == ikewire.Informational || x == ikewire.IKEFollowupKE
	switch {
	case m.Phase == halfOpen && early && !m.Initiator:
	case m.Phase == established && m.Handshake == nil && late:
	default:
		return reject(UnexpectedExchange, "%s, %s", x, m.Phase)
	}
	return nil
}

// replay repeats the answer to a request that has come before (RFC 7296 section 2.1). Of a fragmented one, only the
// first fragment asks for that (RFC 7383 section 2.6.1).
func (m *Machine) replay(path Path, sa *ikeSA, o opened) error {
	if o.Envelope.Number > 1 {
		return reject(OldMessage, "fragment %d of request %d", o.Envelope.Number, o.Header.MessageID)
	}
	if m.waitingToSend() {
		return reject(BusyMessage, "request %d: its answer has not left yet", o.Header.MessageID)
	}
	m.repeat(path, sa.In.Response)
	return nil
}

// receiveResponse takes the answer to the request that is under way.
func (m *Machine) receiveResponse(now time.Time, path Path, sa *ikeSA, o opened) error {
	r := sa.Out.Request
	if r == nil || r.ID != o.Header.MessageID {
		return reject(OldMessage, "%s response %d", o.Header.Exchange, o.Header.MessageID)
	}
	if r.Exchange != o.Header.Exchange {
		return reject(UnexpectedExchange, "%s response to a request of %s", o.Header.Exchange, r.Exchange)
	}
	w, done, err := gather(&sa.Out.Parts, o)
	if err != nil || !done {
		return err
	}
	payloads, err := ikewire.ParsePayloads(w.First, w.Inside)
	if err != nil {
		return malformed(err)
	}
	return m.take(now, path, sa, w, payloads)
}

// hear notes that the peer lives.
func (m *Machine) hear(now time.Time, path Path, sa *ikeSA) {
	m.Heard = now
	if m.Phase == established {
		m.noticePath(now, path, sa)
	}
}

// proceed queues what a call has asked for, and begins the next exchange where it can.
func (m *Machine) proceed(now time.Time) error {
	m.flush()
	err := m.pump(now)
	m.flush()
	return err
}
