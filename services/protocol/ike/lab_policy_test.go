package ike

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/keyexchange"
	"sallyport.dev/sallyport/services/protocol/transform"
)

func encr(id, bits uint16) ikewire.Transform {
	return ikewire.NewTransform(ikewire.TransformENCR, id, bits)
}

func plain(t ikewire.TransformType, ids ...uint16) []ikewire.Transform {
	var all []ikewire.Transform
	for _, id := range ids {
		all = append(all, ikewire.Transform{Type: t, ID: id})
	}
	return all
}

func proposal(p ikewire.ProtocolID, groups ...[]ikewire.Transform) Proposal {
	all := Proposal{Protocol: p}
	for _, g := range groups {
		all.Transforms = append(all.Transforms, g...)
	}
	return all
}

func ikeProposal(methods ...uint16) Proposal {
	return proposal(ikewire.ProtocolIKE, []ikewire.Transform{encr(transform.EncrAESGCM16, 256)},
		plain(ikewire.TransformPRF, transform.PRFHMACSHA2_256), plain(ikewire.TransformKE, methods...))
}

func espProposal(methods ...uint16) Proposal {
	return proposal(ikewire.ProtocolESP, []ikewire.Transform{encr(transform.EncrAESGCM16, 256)},
		plain(ikewire.TransformKE, methods...), plain(ikewire.TransformSN, 0))
}

func fqdn(name string) ikewire.Identification {
	return ikewire.Identification{Type: ikewire.IDFQDN, Data: []byte(name)}
}

func subnet(s string) []ikewire.TrafficSelector {
	return []ikewire.TrafficSelector{Prefix(netip.MustParsePrefix(s))}
}

// childPolicy is one subnet at each end.
func childPolicy(name, local, remote string) ChildPolicy {
	return ChildPolicy{Name: name, Proposals: []Proposal{espProposal(keyexchange.X25519)}, Local: subnet(local), Remote: subnet(remote)}
}

// policies are those of alice and bob: one child, X25519, nothing by timer.
func policies() (alice, bob Policy) {
	timing := Timing{RetransmitBase: time.Second, Retransmits: 6, Retry: time.Second, Linger: 90 * time.Second}
	alice = Policy{LocalID: fqdn("alice"), RemoteID: fqdn("bob"), Proposals: []Proposal{ikeProposal(keyexchange.X25519)},
		Children: []ChildPolicy{childPolicy("net", "10.1.0.0/16", "10.2.0.0/16")}, Timing: timing}
	bob = Policy{LocalID: fqdn("bob"), Proposals: []Proposal{ikeProposal(keyexchange.X25519)},
		Children: []ChildPolicy{childPolicy("net", "10.2.0.0/16", "10.1.0.0/16")}, Timing: timing}
	return alice, bob
}

// consistent fails unless both ends hold the same children with the same keys, the number of them (any if negative), and
// the same IKE SA.
func (l *lab) consistent(children int) {
	l.t.Helper()
	if children < 0 {
		children = len(l.alice.in)
	}
	for _, e := range []*end{l.alice, l.bob} {
		if len(e.in) != children || len(e.out) != children {
			l.fail("%s holds %d inbound and %d outbound halves, want %d", e.name, len(e.in), len(e.out), children)
		}
		for spi, in := range e.in {
			out, ok := e.peer.out[spi]
			if !ok {
				l.fail("%s receives with %08x, and nobody sends", e.name, spi)
			}
			if string(in.Keymat) != string(out.Keymat) || in.Child.Protocol != out.Child.Protocol {
				l.fail("%08x has two keys", spi)
			}
		}
		if e.m != nil && len(e.m.Children) != children {
			l.fail("%s: the machine has %d children, the agent %d", e.name, len(e.m.Children), children)
		}
	}
	if (l.alice.m == nil) != (l.bob.m == nil) {
		l.fail("one end is closed: alice %v, bob %v", l.alice.m == nil, l.bob.m == nil)
	}
	if l.alice.m == nil {
		return
	}
	a, b := l.alice.m.SPIs(), l.bob.m.SPIs()
	if len(a) != 1 || len(b) != 1 || a[0].Local != b[0].Remote || a[0].Remote != b[0].Local {
		l.fail("IKE SAs: alice %v, bob %v", a, b)
	}
}

func TestHandshake(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		a, b := policies()
		l := newLab(t, 1, restoring, a, b)
		l.establish()
		l.consistent(1)
		l.settle()
		l.consistent(1)
	})
}

// printed is a value as programs print it.
func printed(v any) [][]byte {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte(err.Error())
	}
	return [][]byte{b, fmt.Appendf(nil, "%v", v), fmt.Appendf(nil, "%+v", v), fmt.Appendf(nil, "%s", v), fmt.Appendf(nil, "%x", v)}
}

func hexOf(b []byte) string { return fmt.Sprintf("%x", b) }
