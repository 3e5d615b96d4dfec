package ike

import (
	"bytes"
	"encoding/binary"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

func spiOf(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func spiBytes(spi uint32) []byte { return binary.BigEndian.AppendUint32(nil, spi) }

const minSPI = 256 // RFC 4303 section 2.1

// newChildSPI returns an inbound SPI that this machine has not.
func (m *Machine) newChildSPI() (uint32, error) {
	for range 8 {
		spi, err := m.cfg.NewChildSPI()
		if err != nil {
			return 0, err
		}
		taken := false
		for _, c := range m.Children {
			taken = taken || c.Inbound == spi
		}
		if spi >= minSPI && !taken {
			return spi, nil
		}
	}
	return 0, ErrConfig
}

// describe makes the child that a choice and selectors give. initiator says whether this end began the exchange, whose
// TSi and TSr are.
func (m *Machine) describe(now time.Time, p *ChildPolicy, c choice, initiator bool, tsi, tsr []ikewire.TrafficSelector) *child {
	made := &child{Initiator: initiator, Child: Child{
		ID: m.nextID(), Name: p.Name, Protocol: c.Answer.Protocol, Encryption: c.Encryption, Integrity: c.Integrity,
		KE: c.KE, ESN: c.ESN, Local: tsr, Remote: tsi, UDP: m.udp(), Path: m.Path, Lifetime: p.Lifetime,
	}}
	if initiator {
		made.Local, made.Remote = tsi, tsr
	}
	if p.Rekey > 0 {
		made.RekeyAt = m.soon(now, p.Rekey)
		made.Rekey = made.RekeyAt.Sub(now)
	}
	if p.Lifetime > 0 {
		made.EndAt = now.Add(p.Lifetime)
	}
	return made
}

// keymat makes a child's keys (RFC 7296 section 2.17) for both directions of this end.
func (sa *ikeSA) keymat(c *child, ni, nr []byte, secrets []key) (in, out key, err error) {
	keys, err := sa.keys()
	if err != nil {
		return nil, nil, err
	}
	length, err := c.keymatLen()
	if err != nil {
		return nil, nil, err
	}
	initiator, responder, err := keys.ChildKeymat(length, ni, nr, plainBytes(secrets)...)
	if err != nil {
		return nil, nil, err
	}
	if c.Initiator {
		return key(responder), key(initiator), nil
	}
	return key(initiator), key(responder), nil
}

func plainBytes(keys []key) [][]byte {
	var all [][]byte
	for _, k := range keys {
		all = append(all, k)
	}
	return all
}

// installInbound queues the receiving half. The sending half's key waits in the child.
func (m *Machine) installInbound(c *child, in, out key) {
	c.Out = out
	m.Children = append(m.Children, c)
	m.step.inbound = append(m.step.inbound, InstallInbound{Child: c.Child, Keymat: Secret(in)})
}

// installOutbound queues the sending half, once.
func (m *Machine) installOutbound(c *child) {
	if c.Out == nil {
		return
	}
	m.step.outbound = append(m.step.outbound, InstallOutbound{Child: c.Child, Keymat: Secret(c.Out)})
	c.Out = nil
}

func (c *child) removal(reason Reason, drain bool) RemoveChild {
	return RemoveChild{ID: c.ID, Name: c.Name, Protocol: c.Protocol, Inbound: c.Inbound, Outbound: c.Outbound,
		Drain: drain, Reason: reason}
}

// remove forgets a child. What replaces it sends from now on at the latest (RFC 7296 section 2.8).
func (m *Machine) remove(now time.Time, c *child, reason Reason) {
	next := m.byID(c.ReplacedBy)
	if next != nil {
		m.installOutbound(next)
	}
	m.forget(c)
	m.step.after = append(m.step.after, c.removal(reason, next != nil))
	m.note(now, Note{Exchange: ikewire.Informational, Event: Ended, Reason: reason, Child: c.Name,
		Detail: childDetail(c)})
}

// lower returns the nonce that is lower, octet by octet (RFC 7296 section 2.8.1).
func lower(a, b key) key {
	if bytes.Compare(a, b) < 0 {
		return a
	}
	return b
}
