package ike

import (
	"sallyport.dev/sallyport/services/protocol/ikekeys"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// octets are what AUTH covers of one end, RFC 7296 section 2.15: initiator says whose.
func (hs *handshake) octets(k *ikekeys.Keys, initiator bool, id ikewire.Identification) Secret {
	var intermediate []byte
	if hs.IntI != nil {
		intermediate = ikekeys.Intermediate(hs.IntI, hs.IntR, hs.AuthID)
	}
	if initiator {
		return ikekeys.SignedOctets(k.Suite.PRF, k.SKpi, hs.InitI, hs.Nr, id.Body(), intermediate)
	}
	return ikekeys.SignedOctets(k.Suite.PRF, k.SKpr, hs.InitR, hs.Ni, id.Body(), intermediate)
}

// plain are the keys without the PPK: those in use, unless a PPK went into them.
func (m *Machine) plain() (*ikekeys.Keys, error) {
	sa := m.current()
	if m.Handshake.PlainKeys == nil {
		return sa.keys()
	}
	rows, err := sa.Suite.rows()
	if err != nil {
		return nil, err
	}
	return ikekeys.Unmarshal(rows, m.Handshake.PlainKeys)
}

// mixPPK puts the PPK into the keys (RFC 8784 section 3), and keeps those without.
func (m *Machine) mixPPK(ppk []byte) error {
	sa := m.current()
	k, err := sa.keys()
	if err != nil {
		return err
	}
	with, err := k.WithPPK(ppk)
	if err != nil {
		return err
	}
	m.Handshake.PlainKeys, sa.Keys = sa.Keys, with.Marshal()
	sa.cipher = nil
	return nil
}

// unmixPPK goes back to the keys without the PPK.
func (m *Machine) unmixPPK() {
	if m.Handshake.PlainKeys != nil {
		m.current().Keys, m.Handshake.PlainKeys = m.Handshake.PlainKeys, nil
		m.current().cipher = nil
	}
}

// signQuestion is what SignAUTH asks of this end.
func (m *Machine) signQuestion() (SignAUTH, error) {
	sa, hs := m.current(), m.Handshake
	k, err := sa.keys()
	if err != nil {
		return SignAUTH{}, err
	}
	q := SignAUTH{
		ID: QuestionID(m.nextID()), Initiator: m.Initiator, LocalID: m.Policy.LocalID, RemoteID: m.Policy.RemoteID,
		SignedOctets: hs.octets(k, m.Initiator, m.Policy.LocalID), PRF: sa.Suite.PRF, NullKey: sa.mine(k),
		Hashes: m.Peer.Hashes, CertRequests: m.Peer.CertRequests, HTTPCertLookup: m.Peer.HTTPCertLookup,
		Methods: m.Peer.Methods,
	}
	if !m.Initiator {
		q.RemoteID = m.Peer.RemoteID
	}
	if m.Initiator && hs.PlainKeys != nil && !m.Policy.PPK.Required {
		plain, err := m.plain()
		if err != nil {
			return SignAUTH{}, err
		}
		q.WithoutPPK = hs.octets(plain, true, m.Policy.LocalID)
	}
	return q, nil
}

// verifyQuestion is what VerifyPeer asks, but for the AUTH payload and the keys that it was made with.
func (m *Machine) verifyQuestion(ps []ikewire.Payload, k *ikekeys.Keys, auth ikewire.AUTH) VerifyPeer {
	sa, hs := m.current(), m.Handshake
	peerID := m.Peer.RemoteID
	if id, ok := ikewire.Find[ikewire.IDi](ps); ok && !m.Initiator {
		peerID = id.Identification
	}
	if id, ok := ikewire.Find[ikewire.IDr](ps); ok && m.Initiator {
		peerID = id.Identification
	}
	q := VerifyPeer{
		ID: QuestionID(m.nextID()), Initiator: !m.Initiator, AUTH: auth, PRF: sa.Suite.PRF,
		Certificates: ikewire.All[ikewire.CERT](ps), CertRequests: ikewire.All[ikewire.CERTREQ](ps),
		SignedOctets: hs.octets(k, !m.Initiator, peerID), NullKey: sa.theirs(k),
		InitialContact: has(ps, ikewire.InitialContact), HTTPCertLookup: m.Peer.HTTPCertLookup,
		PPK: hs.PlainKeys != nil, Path: m.Path,
	}
	q.IDi, q.IDr = peerID, m.Policy.LocalID
	if m.Initiator {
		q.IDi, q.IDr = m.Policy.LocalID, peerID
	} else if idr, ok := ikewire.Find[ikewire.IDr](ps); ok {
		q.IDr = idr.Identification
	} else {
		q.IDr = ikewire.Identification{}
	}
	return q
}
