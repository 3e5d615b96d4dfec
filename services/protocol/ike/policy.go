package ike

import (
	"fmt"
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/keyexchange"
)

const defaultMaxChildren = 1024

func (p *Policy) maxChildren() int {
	if p.MaxChildren > 0 {
		return p.MaxChildren
	}
	return defaultMaxChildren
}

// withDefaults fills in what is zero.
func (p Policy) withDefaults() Policy {
	t := &p.Timing
	for _, d := range []struct {
		at    *time.Duration
		value time.Duration
	}{{&t.HalfOpen, 30 * time.Second}, {&t.RetransmitBase, 2 * time.Second}, {&t.Retry, 2 * time.Second}, {&t.Linger, 60 * time.Second}} {
		if *d.at <= 0 {
			*d.at = d.value
		}
	}
	if t.Retransmits <= 0 {
		t.Retransmits = 7
	}
	return p
}

// check returns ErrConfig with what is wrong.
func (m *Machine) check() error {
	if m.cfg.Random == nil || m.cfg.NewIKESPI == nil || m.cfg.NewChildSPI == nil {
		return fmt.Errorf("%w: Random, NewIKESPI or NewChildSPI is missing", ErrConfig)
	}
	return m.Policy.check()
}

func (p *Policy) check() error {
	if len(p.Proposals) == 0 {
		return fmt.Errorf("%w: no proposal for IKE", ErrConfig)
	}
	for _, proposal := range p.Proposals {
		if err := proposal.check(ikewire.ProtocolIKE); err != nil {
			return err
		}
	}
	var names []string
	for i := range p.Children {
		c := &p.Children[i]
		if slices.Contains(names, c.Name) {
			return fmt.Errorf("%w: two children %q", ErrConfig, c.Name)
		}
		names = append(names, c.Name)
		if err := c.check(); err != nil {
			return fmt.Errorf("child %q: %w", c.Name, err)
		}
	}
	if p.PPK.ID.Type != 0 && len(p.PPK.Key) == 0 {
		return fmt.Errorf("%w: PPK without a key", ErrConfig)
	}
	return nil
}

func (c *ChildPolicy) check() error {
	if len(c.Proposals) == 0 {
		return fmt.Errorf("%w: no proposal", ErrConfig)
	}
	for _, p := range c.Proposals {
		if err := p.check(ikewire.ProtocolESP, ikewire.ProtocolAH); err != nil {
			return err
		}
	}
	for _, end := range []struct {
		name    string
		ts      []ikewire.TrafficSelector
		dynamic bool
	}{{"local", c.Local, c.LocalDynamic}, {"remote", c.Remote, c.RemoteDynamic}} {
		if len(end.ts) == 0 && !end.dynamic {
			return fmt.Errorf("%w: no %s selectors", ErrConfig, end.name)
		}
		if len(end.ts) > ikewire.MaxSelectors/2 {
			return fmt.Errorf("%w: %d %s selectors, at most %d", ErrConfig, len(end.ts), end.name, ikewire.MaxSelectors/2)
		}
		for _, t := range end.ts {
			if _, err := ikewire.AppendPayloads(nil, []ikewire.Payload{ikewire.TSi{Selectors: []ikewire.TrafficSelector{t}}}); err != nil {
				return fmt.Errorf("%w: %s selector: %w", ErrConfig, end.name, err)
			}
		}
	}
	return nil
}

// unfit says why an IKE SA as it was made must not be had under the policy that came with a verdict. It was made by one
// for the addresses, which others may share: what was chosen then may be too weak for this peer.
func (m *Machine) unfit(p *Policy) (Reason, string) {
	if p == nil {
		return NoReason, ""
	}
	if p.PPK.Required && m.Handshake.PlainKeys == nil {
		return PPKRequired, "the peer used no PPK that we have"
	}
	msg, err := ikewire.Parse(m.Handshake.InitR)
	if err != nil {
		return Malformed, err.Error()
	}
	answer, _ := ikewire.Find[ikewire.SA](msg.Payloads)
	for _, chosen := range answer.Proposals {
		if _, ok := choose(p.Proposals, []ikewire.Proposal{chosen}); ok {
			return NoReason, ""
		}
	}
	return NoProposalChosen, fmt.Sprintf("the IKE SA has %s, which this peer may not have", m.current().Chosen)
}

// adopt takes the policy that came with a verdict. Error: ErrConfig, and nothing has changed.
func (m *Machine) adopt(p *Policy) error {
	if p == nil {
		return nil
	}
	next := p.withDefaults()
	if err := next.check(); err != nil {
		return err
	}
	m.Policy = next
	return nil
}

// wantsAdditional reports whether a proposal for the IKE SA has additional key exchanges (RFC 9370).
func (p *Policy) wantsAdditional() bool {
	return slices.ContainsFunc(p.Proposals, func(p Proposal) bool {
		return slices.ContainsFunc(p.Transforms, isAdditional)
	})
}

func isAdditional(t ikewire.Transform) bool {
	return t.Type >= ikewire.TransformADDKE1 && t.Type <= ikewire.TransformADDKE7 && t.ID != 0
}

// withoutAdditional are the proposals for a peer that has no IKE_INTERMEDIATE: those where none is needed.
func withoutAdditional(ours []Proposal) []Proposal {
	var all []Proposal
	for _, p := range ours {
		needed := map[ikewire.TransformType]bool{}
		for _, t := range p.Transforms {
			if isAdditional(t) {
				if _, known := needed[t.Type]; !known {
					needed[t.Type] = true
				}
			} else if t.Type >= ikewire.TransformADDKE1 && t.ID == 0 {
				needed[t.Type] = false
			}
		}
		optional := true
		for _, must := range needed {
			optional = optional && !must
		}
		if optional {
			all = append(all, Proposal{p.Protocol, slices.DeleteFunc(slices.Clone(p.Transforms), isAdditional)})
		}
	}
	return all
}

// methodName is a key exchange method for people.
func methodName(id uint16) string {
	if m, err := keyexchange.ByID(id); err == nil {
		return m.Name
	}
	if id == 0 {
		return "none"
	}
	return fmt.Sprintf("key exchange method %d", id)
}
