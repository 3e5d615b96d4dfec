package ike

import (
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// child is one child SA, both directions.
//
//	            ┌──────── InboundUsed, or the old one's Delete ────────┐
//	PENDING ────┴──▶ LIVE ──peer's rekey──▶ REPLACED ──Delete──▶ gone
//	(outbound half     └────our Delete────▶ DELETING ──answer──▶ gone
//	 not yet given)
type child struct {
	Child
	Initiator bool // this end began the exchange that made it
	// Out is the key of the outbound half until InstallOutbound is an action: the responder of a rekey waits.
	Out        key
	Low        key    // the lower nonce of the exchange that made it (RFC 7296 section 2.8.1)
	ReplacedBy uint64 // the child that the peer's rekey made of it; 0: none
	Deleting   bool   // our Delete for it is under way or waits for the window
	RekeyAt    time.Time
	EndAt      time.Time
	GoneAt     time.Time // when a replaced one is removed unless the peer deletes it before
}

// byID returns the child of that ID, or nil.
func (s *state) byID(id uint64) *child {
	for _, c := range s.Children {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// byOutbound returns the child that the peer names by the SPI it receives with, or nil.
func (s *state) byOutbound(p ikewire.ProtocolID, spi uint32) *child {
	for _, c := range s.Children {
		if c.Outbound == spi && c.Protocol == p {
			return c
		}
	}
	return nil
}

// forget takes a child off the list.
func (s *state) forget(c *child) {
	s.Children = slices.DeleteFunc(slices.Clone(s.Children), func(other *child) bool { return other == c })
}

// policy returns the child policy of that name, or nil.
func (p *Policy) child(name string) *ChildPolicy {
	for i := range p.Children {
		if p.Children[i].Name == name {
			return &p.Children[i]
		}
	}
	return nil
}
