package ike

import (
	"fmt"

	"sallyport.dev/sallyport/services/protocol/ikekeys"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/keyexchange"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// suiteID names the transforms of an IKE SA by IANA's numbers.
type suiteID struct {
	Encryption EncryptionID
	Integrity  uint16
	PRF        uint16
	KE         uint16
	Additional []uint16 // RFC 9370, in the order of ADDKE1 to ADDKE7, without NONE
}

func (c choice) suite() suiteID {
	return suiteID{c.Encryption, c.Integrity, c.PRF, c.KE, c.Additional}
}

// rows looks the transforms up in their tables. Errors: transform's.
func (s suiteID) rows() (ikekeys.Suite, error) {
	encryption, err := transform.ByID(s.Encryption.ID, s.Encryption.KeyBits)
	if err != nil {
		return ikekeys.Suite{}, err
	}
	integrity, err := transform.IntegrityByID(s.Integrity)
	if err != nil {
		return ikekeys.Suite{}, err
	}
	prf, err := transform.PRFByID(s.PRF)
	if err != nil {
		return ikekeys.Suite{}, err
	}
	return ikekeys.Suite{Encryption: encryption, Integrity: integrity, PRF: prf}, nil
}

// keys are those of the IKE SA.
func (sa *ikeSA) keys() (*ikekeys.Keys, error) {
	rows, err := sa.Suite.rows()
	if err != nil {
		return nil, err
	}
	return ikekeys.Unmarshal(rows, sa.Keys)
}

// mine and theirs are SK_p of this end and of the other.
func (sa *ikeSA) mine(k *ikekeys.Keys) []byte {
	if sa.Initiator {
		return k.SKpi
	}
	return k.SKpr
}

func (sa *ikeSA) theirs(k *ikekeys.Keys) []byte {
	if sa.Initiator {
		return k.SKpr
	}
	return k.SKpi
}

// keyPair begins a key exchange: the marshalled private key and the public value.
func (m *Machine) keyPair(id uint16) (private key, public []byte, err error) {
	method, err := keyexchange.ByID(id)
	if err != nil {
		return nil, nil, err
	}
	p, err := method.Initiate(m.cfg.Random)
	if err != nil {
		return nil, nil, err
	}
	return p.Marshal(), p.Public(), nil
}

// finishKE ends a key exchange that keyPair began.
func finishKE(id uint16, private key, peer []byte) (secret []byte, err error) {
	method, err := keyexchange.ByID(id)
	if err != nil {
		return nil, err
	}
	p, err := method.Unmarshal(private)
	if err != nil {
		return nil, err
	}
	if secret, err = p.Finish(peer); err != nil {
		return nil, &Rejection{BadPublicValue, err}
	}
	return secret, nil
}

// answerKE answers a key exchange that the peer began.
func (m *Machine) answerKE(id uint16, peer []byte) (public, secret []byte, err error) {
	method, err := keyexchange.ByID(id)
	if err != nil {
		return nil, nil, err
	}
	if public, secret, err = method.Respond(m.cfg.Random, peer); err != nil {
		return nil, nil, &Rejection{BadPublicValue, err}
	}
	return public, secret, nil
}

// keymatLen is the length of one direction's key material.
func (c *Child) keymatLen() (int, error) {
	integrity, err := transform.IntegrityByID(c.Integrity)
	if err != nil {
		return 0, err
	}
	if c.Protocol == ikewire.ProtocolAH {
		return integrity.KeymatLen(), nil
	}
	encryption, err := transform.ByID(c.Encryption.ID, c.Encryption.KeyBits)
	if err != nil {
		return 0, err
	}
	return transform.Suite{Encryption: encryption, Integrity: integrity}.KeymatLen(), nil
}

// check returns ErrConfig for transforms that are not in the tables or that cannot be used so.
func (p Proposal) check(of ...ikewire.ProtocolID) error {
	for _, protocol := range of {
		if p.Protocol != protocol {
			continue
		}
		for _, t := range p.Transforms {
			if err := checkTransform(t); err != nil {
				return fmt.Errorf("%w: %s: %w", ErrConfig, t, err)
			}
		}
		if _, ok := match(p, offerOf([]Proposal{p}, nil)[0]); !ok {
			return fmt.Errorf("%w: %s: transforms that protect nothing", ErrConfig, p.Protocol)
		}
		return nil
	}
	return fmt.Errorf("%w: proposal for %s", ErrConfig, p.Protocol)
}

func checkTransform(t ikewire.Transform) error {
	bits, ok := t.KeyBits()
	if !ok {
		return ikewire.ErrValue
	}
	var err error
	switch {
	case t.Type == ikewire.TransformENCR:
		_, err = transform.ByID(t.ID, bits)
	case t.Type == ikewire.TransformINTEG:
		_, err = transform.IntegrityByID(t.ID)
	case t.Type == ikewire.TransformPRF:
		_, err = transform.PRFByID(t.ID)
	case t.Type == ikewire.TransformSN && t.ID <= 1, t.ID == 0:
	case t.Type == ikewire.TransformKE, t.Type >= ikewire.TransformADDKE1 && t.Type <= ikewire.TransformADDKE7:
		_, err = keyexchange.ByID(t.ID)
	default:
		err = ikewire.ErrValue
	}
	return err
}
