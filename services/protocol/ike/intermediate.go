package ike

import (
	"fmt"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikekeys"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// sendIntermediate sends an IKE_INTERMEDIATE request (RFC 9242) with the next additional key exchange (RFC 9370
// section 2.2.2).
func (m *Machine) sendIntermediate(now time.Time, sa *ikeSA) error {
	hs := m.Handshake
	private, public, err := m.keyPair(hs.Steps[0])
	if err != nil {
		return err
	}
	hs.Offer.Private = private
	keys, err := sa.keys()
	if err != nil {
		return err
	}
	ps := []ikewire.Payload{ikewire.KE{Method: hs.Steps[0], Data: public}}
	authentic, err := m.request(now, sa, ikewire.IKEIntermediate, ps, task{Kind: taskIntermediate})
	if err != nil {
		return err
	}
	hs.IntI = ikekeys.IntAuth(keys.Suite.PRF, keys.SKpi, hs.IntI, authentic)
	return nil
}

// takeIntermediate takes its answer, and goes on with the next one or with IKE_AUTH.
func (m *Machine) takeIntermediate(now time.Time, sa *ikeSA, w whole, ps []ikewire.Payload) error {
	hs := m.Handshake
	ke, ok := ikewire.Find[ikewire.KE](ps)
	if n, refused := firstError(ps); refused || !ok || ke.Method != hs.Steps[0] {
		m.becomeClosed(now, PeerRefused, fmt.Sprintf("IKE_INTERMEDIATE: no KE payload for %s; %s", methodName(hs.Steps[0]), n))
		return nil
	}
	secret, err := finishKE(ke.Method, hs.Offer.Private, ke.Data)
	if err != nil {
		m.becomeClosed(now, BadPublicValue, err.Error())
		return nil
	}
	keys, err := sa.keys()
	if err != nil {
		return err
	}
	hs.IntR = ikekeys.IntAuth(keys.Suite.PRF, keys.SKpr, hs.IntR, w.Intermediate)
	if err := m.addSecret(sa, keys, secret); err != nil {
		return err
	}
	m.note(now, Note{Exchange: ikewire.IKEIntermediate, MessageID: w.Header.MessageID, Ours: true, Event: Answered,
		Chosen: []string{methodName(ke.Method)}})
	return m.afterInit(now, sa)
}

// addSecret replaces the keys by those with one more secret in them.
func (m *Machine) addSecret(sa *ikeSA, keys *ikekeys.Keys, secret []byte) error {
	hs := m.Handshake
	next, err := keys.WithAdditional(hs.Ni, hs.Nr, secret, sa.SPIi, sa.SPIr)
	if err != nil {
		return err
	}
	sa.Keys, sa.cipher, sa.Sealed = next.Marshal(), nil, ikekeys.State{}
	hs.Steps = hs.Steps[1:]
	return nil
}

// answerIntermediate answers IKE_INTERMEDIATE with the old keys and goes on with the new ones.
func (m *Machine) answerIntermediate(now time.Time, path Path, sa *ikeSA, w whole, ps []ikewire.Payload) error {
	hs := m.Handshake
	if len(hs.Steps) == 0 {
		return reject(UnexpectedExchange, "no key exchange is left")
	}
	ke, ok := ikewire.Find[ikewire.KE](ps)
	if !ok || ke.Method != hs.Steps[0] {
		return reject(Malformed, "IKE_INTERMEDIATE without the KE payload for %s", methodName(hs.Steps[0]))
	}
	public, secret, err := m.answerKE(ke.Method, ke.Data)
	if err != nil {
		return err
	}
	keys, err := sa.keys()
	if err != nil {
		return err
	}
	m.Path, hs.Last = path, w.Raw
	authentic, err := m.replyAs(path, sa, w.Header, []ikewire.Payload{ikewire.KE{Method: ke.Method, Data: public}})
	if err != nil {
		return err
	}
	hs.IntI = ikekeys.IntAuth(keys.Suite.PRF, keys.SKpi, hs.IntI, w.Intermediate)
	hs.IntR = ikekeys.IntAuth(keys.Suite.PRF, keys.SKpr, hs.IntR, authentic)
	m.note(now, Note{Exchange: ikewire.IKEIntermediate, MessageID: w.Header.MessageID, Event: Answered,
		Chosen: []string{methodName(ke.Method)}})
	return m.addSecret(sa, keys, secret)
}
