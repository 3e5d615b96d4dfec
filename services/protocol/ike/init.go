package ike

import (
	"bytes"
	"io"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

const nonceLen = 32 // at least half of the longest PRF's key, RFC 7296 section 2.10

// newNonce returns a nonce of this end.
func (m *Machine) newNonce() (key, error) {
	nonce := make([]byte, nonceLen)
	_, err := io.ReadFull(m.cfg.Random, nonce)
	return nonce, err
}

// newIKESPI returns an SPI that this machine has not.
func (m *Machine) newIKESPI() (ikewire.IKESPI, error) {
	for range 8 {
		spi, err := m.cfg.NewIKESPI()
		if err != nil {
			return ikewire.IKESPI{}, err
		}
		if !spi.IsZero() && m.byLocal(spi) == nil {
			return spi, nil
		}
	}
	return ikewire.IKESPI{}, ErrConfig
}

// receiveInit takes what comes of IKE_SA_INIT: the initiator's response, or the responder's request once more.
func (m *Machine) receiveInit(now time.Time, path Path, msg *ikewire.Message) error {
	h := msg.Header
	switch {
	case m.Handshake == nil:
		return reject(UnexpectedExchange, "%s, %s", h.Exchange, m.Phase)
	case !m.Initiator && !h.Flags.Response():
		if !bytes.Equal(msg.Raw(), m.Handshake.InitI) {
			return reject(UnknownSPI, "another IKE_SA_INIT request")
		}
		m.repeat(path, [][]byte{m.Handshake.InitR})
		return nil
	case !m.Initiator || !h.Flags.Response():
		return reject(WrongDirection, "IKE_SA_INIT with flags %q", h.Flags)
	}
	sa, err := m.find(h)
	if err != nil {
		return err
	}
	r := sa.Out.Request
	if r == nil || r.Task.Kind != taskInit || h.MessageID != 0 {
		return reject(OldMessage, "IKE_SA_INIT response %d", h.MessageID)
	}
	return m.takeInit(now, path, sa, msg)
}

// features are the notifies of IKE_SA_INIT that both ends send.
func (m *Machine) features() []ikewire.Payload {
	ps := []ikewire.Payload{ikewire.Notify{Type: ikewire.IKEv2FragmentationSupported}}
	if len(m.Policy.Hashes) > 0 {
		ps = append(ps, ikewire.NewHashAlgorithms(m.Policy.Hashes))
	}
	return ps
}

// learn keeps what the peer's IKE_SA_INIT message says of it.
func (p *peer) learn(ps []ikewire.Payload) {
	for _, n := range ikewire.All[ikewire.Notify](ps) {
		switch n.Type {
		case ikewire.IKEv2FragmentationSupported:
			p.Fragments = true
		case ikewire.SignatureHashAlgorithms:
			if hashes, err := n.HashAlgorithms(); err == nil {
				p.Hashes = hashes
			}
		case ikewire.ChildlessIKEv2Supported:
			p.Childless = true
		case ikewire.RedirectSupported, ikewire.RedirectedFrom:
			p.Redirects = true
		case ikewire.IntermediateExchangeSupported:
			p.Intermediate = true
		case ikewire.SupportedAuthMethods:
			if methods, err := n.AuthAnnouncements(); err == nil {
				p.Methods = methods
			}
		}
	}
	p.CertRequests = ikewire.All[ikewire.CERTREQ](ps)
}

func has(ps []ikewire.Payload, t ikewire.NotifyType) bool {
	_, ok := ikewire.FindNotify(ps, t)
	return ok
}

// firstError returns the first error notify of an answer.
func firstError(ps []ikewire.Payload) (ikewire.Notify, bool) {
	for _, n := range ikewire.All[ikewire.Notify](ps) {
		if n.Type.IsError() {
			return n, true
		}
	}
	return ikewire.Notify{}, false
}

// reasonFor is the reason that an error notify of the peer gives.
func reasonFor(t ikewire.NotifyType) Reason {
	switch t {
	case ikewire.NoProposalChosen:
		return NoProposalChosen
	case ikewire.InvalidKEPayload:
		return InvalidKE
	case ikewire.AuthenticationFailed:
		return AuthenticationFailed
	case ikewire.TSUnacceptable, ikewire.InvalidSelectors:
		return TSUnacceptable
	case ikewire.SinglePairRequired:
		return SinglePairRequired
	case ikewire.TemporaryFailure:
		return TemporaryFailure
	case ikewire.ChildSANotFound:
		return ChildNotFound
	case ikewire.NoAdditionalSAs:
		return NoAdditionalSAs
	case ikewire.InternalAddressFailure, ikewire.FailedCPRequired:
		return AddressFailure
	case ikewire.InvalidSyntax:
		return Malformed
	case ikewire.UnsupportedCriticalPayload:
		return CriticalPayload
	}
	return PeerRefused
}
