package ike

import (
	"slices"
	"strings"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// choice is what both ends agree on, RFC 7296 section 2.7.
type choice struct {
	Answer     ikewire.Proposal // without an SPI
	Encryption EncryptionID
	Integrity  uint16
	PRF        uint16
	KE         uint16 // 0: NONE
	ESN        bool
	Additional []uint16 // RFC 9370, without NONE
}

// negotiable are the transform types that can be chosen, in the order in which they are. Of those from INTEG on, none
// at all means NONE (RFC 7296 section 3.3.3), and for SN 32-bit numbers.
func negotiable() []ikewire.TransformType {
	types := []ikewire.TransformType{ikewire.TransformENCR, ikewire.TransformPRF, ikewire.TransformINTEG,
		ikewire.TransformKE, ikewire.TransformSN}
	for t := ikewire.TransformADDKE1; t <= ikewire.TransformADDKE7; t++ {
		types = append(types, t)
	}
	return types
}

// choose returns what the first of our proposals that fits one of theirs has in common with it, in our order of
// preference.
func choose(ours []Proposal, theirs []ikewire.Proposal) (choice, bool) {
	for _, our := range ours {
		for _, their := range theirs {
			if c, ok := match(our, their); ok {
				return c, true
			}
		}
	}
	return choice{}, false
}

// match finds one transform of each type that both proposals have.
func match(our Proposal, their ikewire.Proposal) (choice, bool) {
	if our.Protocol != their.Protocol || !understood(their) {
		return choice{}, false
	}
	c := choice{Answer: ikewire.Proposal{Number: their.Number, Protocol: their.Protocol}}
	return c.fill(our, their, negotiable())
}

func understood(p ikewire.Proposal) bool {
	for _, t := range p.Transforms {
		if !slices.Contains(negotiable(), t.Type) {
			return false
		}
	}
	return true
}

// fill tries, for the first of types, each transform that both have, and then the rest.
func (c choice) fill(our Proposal, their ikewire.Proposal, types []ikewire.TransformType) (choice, bool) {
	if len(types) == 0 {
		return c, c.sound()
	}
	t := types[0]
	mine, offered := ofType(our.Transforms, t), ofType(their.Transforms, t)
	explicit := len(offered) > 0
	if t >= ikewire.TransformINTEG {
		none := []ikewire.Transform{{Type: t}}
		if !explicit {
			offered = none
		}
		if len(mine) == 0 || t == ikewire.TransformINTEG && c.aead() {
			mine = none
		}
	}
	if len(mine) == 0 && len(offered) == 0 {
		return c.fill(our, their, types[1:])
	}
	for _, transform := range mine {
		if !containsTransform(offered, transform) {
			continue
		}
		next, ok := c.with(transform, explicit)
		if !ok {
			continue
		}
		if done, ok := next.fill(our, their, types[1:]); ok {
			return done, true
		}
	}
	return choice{}, false
}

// with takes a transform. It is not ok for an additional key exchange that there is already (RFC 9370 section 2.2.1).
func (c choice) with(t ikewire.Transform, explicit bool) (choice, bool) {
	bits, _ := t.KeyBits()
	switch {
	case t.Type == ikewire.TransformENCR:
		c.Encryption = EncryptionID{t.ID, bits}
	case t.Type == ikewire.TransformPRF:
		c.PRF = t.ID
	case t.Type == ikewire.TransformINTEG:
		c.Integrity = t.ID
	case t.Type == ikewire.TransformKE:
		c.KE = t.ID
	case t.Type == ikewire.TransformSN:
		c.ESN = t.ID == 1
	case t.ID != 0:
		if t.ID == c.KE || c.KE == 0 || slices.Contains(c.Additional, t.ID) {
			return c, false
		}
		c.Additional = append(slices.Clone(c.Additional), t.ID)
	}
	if explicit {
		c.Answer.Transforms = append(slices.Clone(c.Answer.Transforms), t)
	}
	return c, true
}

func (c choice) aead() bool {
	e, err := transform.ByID(c.Encryption.ID, c.Encryption.KeyBits)
	return err == nil && e.AEAD()
}

// sound reports whether the protocol has all that it needs, and protects.
func (c choice) sound() bool {
	switch c.Answer.Protocol {
	case ikewire.ProtocolIKE:
		return c.PRF != 0 && c.KE != 0 && c.Encryption.ID != 0 && c.aead() == (c.Integrity == 0)
	case ikewire.ProtocolESP:
		return c.PRF == 0 && c.Encryption.ID != 0 && c.aead() == (c.Integrity == 0)
	case ikewire.ProtocolAH:
		return c.PRF == 0 && c.Encryption.ID == 0 && c.Integrity != 0
	}
	return false
}

func ofType(ts []ikewire.Transform, t ikewire.TransformType) []ikewire.Transform {
	var all []ikewire.Transform
	for _, transform := range ts {
		if transform.Type == t {
			all = append(all, transform)
		}
	}
	return all
}

func containsTransform(ts []ikewire.Transform, want ikewire.Transform) bool {
	bits, ok := want.KeyBits()
	return ok && slices.ContainsFunc(ts, func(t ikewire.Transform) bool {
		b, ok := t.KeyBits()
		return ok && t.Type == want.Type && t.ID == want.ID && b == bits
	})
}

// offerOf numbers our proposals and gives them an SPI.
func offerOf(ours []Proposal, spi []byte) []ikewire.Proposal {
	var all []ikewire.Proposal
	for i, p := range ours {
		all = append(all, ikewire.Proposal{Number: uint8(i + 1), Protocol: p.Protocol, SPI: spi, Transforms: p.Transforms})
	}
	return all
}

// accept checks a responder's answer against what was offered: one proposal of ours, one transform of each type
// (RFC 7296 section 2.7).
func accept(offered []ikewire.Proposal, answer ikewire.SA) (choice, []byte, bool) {
	if len(answer.Proposals) != 1 {
		return choice{}, nil, false
	}
	a := answer.Proposals[0]
	for _, t := range negotiable() {
		if len(ofType(a.Transforms, t)) > 1 {
			return choice{}, nil, false
		}
	}
	for _, p := range offered {
		if p.Number == a.Number {
			c, ok := match(Proposal{p.Protocol, p.Transforms}, a)
			return c, a.SPI, ok
		}
	}
	return choice{}, nil, false
}

// withoutKE returns proposals for IKE_AUTH, whose child has no key exchange of its own (RFC 7296 section 1.2).
func withoutKE(ours []Proposal) []Proposal {
	var all []Proposal
	for _, p := range ours {
		all = append(all, Proposal{p.Protocol, dropKE(p.Transforms)})
	}
	return all
}

func dropKE(ts []ikewire.Transform) []ikewire.Transform {
	return slices.DeleteFunc(slices.Clone(ts), func(t ikewire.Transform) bool {
		return t.Type == ikewire.TransformKE || t.Type >= ikewire.TransformADDKE1 && t.Type <= ikewire.TransformADDKE7
	})
}

// firstKE is the method that our first proposal wants most; 0: none.
func firstKE(ours []Proposal) uint16 {
	for _, p := range ours {
		for _, t := range ofType(p.Transforms, ikewire.TransformKE) {
			return t.ID
		}
	}
	return 0
}

// allowsKE reports whether a proposal of ours has the method.
func allowsKE(ours []Proposal, method uint16) bool {
	for _, p := range ours {
		if containsTransform(p.Transforms, ikewire.Transform{Type: ikewire.TransformKE, ID: method}) {
			return true
		}
	}
	return false
}

// proposalStrings writes proposals for people: "ESP: ENCR_AES_GCM_16 256, ESN".
func proposalStrings(ps []ikewire.Proposal) []string {
	var all []string
	for _, p := range ps {
		var names []string
		for _, t := range p.Transforms {
			names = append(names, t.String())
		}
		all = append(all, p.Protocol.String()+": "+strings.Join(names, ", "))
	}
	return all
}
