package ike

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/keyexchange"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// handshakes are changes to the two policies, or to the ends, after which the handshake must end established.
var handshakes = []struct {
	name     string
	change   func(l *lab, a, b *Policy)
	children int
	check    func(l *lab)
}{
	{"plain", func(*lab, *Policy, *Policy) {}, 1, nil},
	{"other key exchange wanted", func(_ *lab, a, b *Policy) {
		a.Proposals = []Proposal{ikeProposal(keyexchange.P256, keyexchange.X25519)}
	}, 1, func(l *lab) { l.noted(l.alice, Retried, InvalidKE) }},
	{"responder's order", func(_ *lab, a, b *Policy) {
		a.Proposals = []Proposal{ikeProposal(keyexchange.P256, keyexchange.X25519)}
		b.Proposals = []Proposal{ikeProposal(keyexchange.X25519, keyexchange.P256)}
	}, 1, func(l *lab) {
		if id := l.bob.m.current().Suite.KE; id != keyexchange.X25519 {
			l.fail("chose method %d", id)
		}
	}},
	{"CBC and HMAC", func(_ *lab, a, b *Policy) {
		p := proposal(ikewire.ProtocolIKE, []ikewire.Transform{encr(transform.EncrAESCBC, 256)},
			plain(ikewire.TransformPRF, transform.PRFHMACSHA2_384), plain(ikewire.TransformINTEG, transform.IntegHMACSHA2_384_192),
			plain(ikewire.TransformKE, keyexchange.P384))
		a.Proposals, b.Proposals = append(a.Proposals, p), []Proposal{p}
	}, 1, nil},
	{"ESN", func(_ *lab, a, b *Policy) {
		p := proposal(ikewire.ProtocolESP, []ikewire.Transform{encr(transform.EncrAESGCM16, 128)}, plain(ikewire.TransformSN, 1, 0))
		a.Children[0].Proposals, b.Children[0].Proposals = []Proposal{p}, []Proposal{p}
	}, 1, func(l *lab) {
		if !l.alice.m.Children[0].ESN || !l.bob.m.Children[0].ESN {
			l.fail("no ESN")
		}
	}},
	{"AH", func(_ *lab, a, b *Policy) {
		p := proposal(ikewire.ProtocolAH, plain(ikewire.TransformINTEG, transform.IntegHMACSHA2_256_128), plain(ikewire.TransformSN, 0))
		a.Children[0].Proposals, b.Children[0].Proposals = []Proposal{p}, []Proposal{p}
	}, 1, nil},
	{"transport mode", func(_ *lab, a, b *Policy) {
		a.Children[0].Mode, b.Children[0].Mode = Transport, PreferTransport
	}, 1, func(l *lab) {
		if !l.alice.m.Children[0].Transport || !l.bob.m.Children[0].Transport {
			l.fail("tunnel mode")
		}
	}},
	{"transport mode is preferred in vain", func(_ *lab, a, b *Policy) { a.Children[0].Mode = PreferTransport }, 1, func(l *lab) {
		if l.alice.m.Children[0].Transport || l.bob.m.Children[0].Transport {
			l.fail("transport mode")
		}
	}},
	{"transport mode is required in vain", func(_ *lab, a, b *Policy) { a.Children[0].Mode = Transport }, 0, nil},
	{"childless", func(_ *lab, a, b *Policy) { a.Childless = true }, 0, nil},
	{"narrowed", func(_ *lab, a, b *Policy) {
		a.Children[0].Remote = subnet("10.0.0.0/8")
		b.Children[0].Remote = subnet("10.1.2.0/24")
	}, 1, func(l *lab) {
		c := l.alice.m.Children[0]
		if got := selectorStrings(append(c.Local, c.Remote...)); !slices.Equal(got, []string{"10.1.2.0-10.1.2.255", "10.2.0.0-10.2.255.255"}) {
			l.fail("narrowed to %v", got)
		}
	}},
	{"selectors unacceptable", func(_ *lab, a, b *Policy) { b.Children[0].Remote = subnet("10.9.0.0/16") }, 0,
		func(l *lab) { l.noted(l.bob, Refused, TSUnacceptable); l.noted(l.alice, Failed, TSUnacceptable) }},
	{"child proposals do not meet", func(_ *lab, a, b *Policy) {
		b.Children[0].Proposals = []Proposal{proposal(ikewire.ProtocolESP, []ikewire.Transform{encr(transform.EncrChaCha20Poly1305, 0)})}
	}, 0, func(l *lab) { l.noted(l.bob, Refused, NoProposalChosen) }},
	{"single pair", func(_ *lab, a, b *Policy) { b.Children[0].SinglePair = true }, 0,
		func(l *lab) { l.noted(l.alice, Failed, SinglePairRequired) }},
	{"NAT before the initiator", func(l *lab, a, b *Policy) {
		l.alice.nat, l.alice.natPorts = netip.MustParseAddr("198.51.100.9"), 1000
	}, 1, func(l *lab) {
		c := l.bob.m.Children[0]
		if !c.UDP || !l.alice.m.Children[0].UDP || c.Path.Remote.String() != "198.51.100.9:5500" {
			l.fail("not in UDP, or not along %v", c.Path)
		}
	}},
	{"transport mode behind a NAT", func(l *lab, a, b *Policy) {
		l.alice.nat, l.alice.natPorts = netip.MustParseAddr("198.51.100.9"), 1000
		for _, p := range []*Policy{a, b} {
			p.Children[0] = ChildPolicy{Name: "net", Proposals: p.Children[0].Proposals, LocalDynamic: true, RemoteDynamic: true, Mode: Transport}
		}
	}, 1, func(l *lab) {
		a, b := l.alice.m.Children[0], l.bob.m.Children[0]
		got := selectorStrings(slices.Concat(a.Local, a.Remote, b.Local, b.Remote))
		if !slices.Equal(got, []string{"192.0.2.1-192.0.2.1", "192.0.2.2-192.0.2.2", "192.0.2.2-192.0.2.2", "198.51.100.9-198.51.100.9"}) || !b.Transport {
			l.fail("selectors %v", got)
		}
	}},
	{"a feigned NAT", func(l *lab, a, b *Policy) { b.ForceNAT = true }, 1, func(l *lab) {
		if !l.bob.m.Children[0].UDP || !l.alice.m.Children[0].UDP {
			l.fail("not in UDP")
		}
	}},
	{"fragments", func(_ *lab, a, b *Policy) { a.MTU, b.MTU = 200, 150 }, 1, nil},
	{"additional key exchanges", func(_ *lab, a, b *Policy) {
		p := ikeProposal(keyexchange.X25519)
		p.Transforms = append(p.Transforms, plain(ikewire.TransformADDKE1, keyexchange.MLKEM768)...)
		p.Transforms = append(p.Transforms, plain(ikewire.TransformADDKE2, keyexchange.P256, 0)...)
		a.Proposals, b.Proposals = []Proposal{p}, []Proposal{p}
	}, 1, func(l *lab) {
		if got := l.bob.m.current().Suite.Additional; !slices.Equal(got, []uint16{keyexchange.MLKEM768, keyexchange.P256}) {
			l.fail("additional key exchanges %v", got)
		}
	}},
	{"additional key exchanges are optional", func(_ *lab, a, b *Policy) {
		p := ikeProposal(keyexchange.X25519)
		p.Transforms = append(p.Transforms, plain(ikewire.TransformADDKE1, keyexchange.MLKEM768, 0)...)
		a.Proposals = []Proposal{p}
	}, 1, nil},
	{"PPK", func(l *lab, a, b *Policy) {
		a.PPK = PPKPolicy{ID: ikewire.PPKID{Type: ikewire.PPKIDFixed, Data: []byte("q")}, Key: Secret("quantum"), Required: true}
		b.PPK = PPKPolicy{Use: true, Required: true}
		l.bob.ppk = map[string]Secret{"q": Secret("quantum")}
	}, 1, func(l *lab) {
		if !l.alice.m.Peer.PPKUsed || !l.bob.m.Peer.PPKUsed {
			l.fail("no PPK")
		}
	}},
	{"the responder has not the PPK", func(l *lab, a, b *Policy) {
		a.PPK = PPKPolicy{ID: ikewire.PPKID{Type: ikewire.PPKIDFixed, Data: []byte("q")}, Key: Secret("quantum")}
		b.PPK = PPKPolicy{Use: true}
	}, 1, func(l *lab) {
		if l.alice.m.Peer.PPKUsed || l.bob.m.Peer.PPKUsed {
			l.fail("a PPK")
		}
	}},
	{"virtual address", func(l *lab, a, b *Policy) {
		a.Request = []ikewire.ConfigAttribute{{Type: ikewire.InternalIP4Address}}
		a.Children[0].LocalDynamic, b.Children[0].RemoteDynamic = true, true
		l.bob.assign = func(q AssignAddresses) AddressesAssigned {
			return AddressesAssigned{ID: q.ID, Attributes: []ikewire.ConfigAttribute{
				ikewire.NewAddrAttribute(ikewire.InternalIP4Address, netip.MustParseAddr("10.77.0.5"))}}
		}
	}, 1, func(l *lab) {
		for _, ts := range [][]ikewire.TrafficSelector{l.alice.m.Children[0].Local, l.bob.m.Children[0].Remote} {
			if got := selectorStrings(ts); !slices.Equal(got, []string{"10.77.0.5-10.77.0.5"}) {
				l.fail("selectors %v", got)
			}
		}
	}},
	{"no virtual address is left", func(l *lab, a, b *Policy) {
		a.Request = []ikewire.ConfigAttribute{{Type: ikewire.InternalIP4Address}}
		a.Children[0].LocalDynamic, b.Children[0].RemoteDynamic = true, true
		l.bob.assign = func(q AssignAddresses) AddressesAssigned { return AddressesAssigned{ID: q.ID, Failed: "pool is empty"} }
	}, 0, func(l *lab) { l.noted(l.alice, Failed, AddressFailure) }},
	{"MOBIKE floats", func(l *lab, a, b *Policy) { a.MOBIKE, b.MOBIKE = true, true }, 1, func(l *lab) {
		if l.alice.m.Path.Remote.Port() != PortNAT || l.bob.m.Path.Local.Port() != PortNAT || l.bob.m.Children[0].UDP {
			l.fail("path %v", l.alice.m.Path)
		}
	}},
}

// noted fails unless an end has noted that.
func (l *lab) noted(e *end, event Event, reason Reason) {
	l.t.Helper()
	if !slices.ContainsFunc(e.notes, func(n Note) bool { return n.Event == event && n.Reason == reason }) {
		l.fail("%s has not noted: %s, %s", e.name, event, reason)
	}
}

func (l *lab) apply(change func(l *lab, a, b *Policy)) {
	change(l, &l.alice.cfg.Policy, &l.bob.cfg.Policy)
}

func TestHandshakes(t *testing.T) {
	for _, c := range handshakes {
		t.Run(c.name, func(t *testing.T) {
			twice(t, func(t *testing.T, restoring bool) {
				a, b := policies()
				l := newLab(t, 1, restoring, a, b)
				l.apply(c.change)
				l.establish()
				l.run(30*time.Second, nil)
				l.consistent(c.children)
				if c.check != nil {
					c.check(l)
				}
			})
		})
	}
}

// TestHandshakesOverABadNetwork loses each datagram of each handshake once, and delivers each twice.
func TestHandshakesOverABadNetwork(t *testing.T) {
	for _, c := range handshakes {
		t.Run(c.name, func(t *testing.T) {
			for n := 1; ; n++ {
				sent := 0
				for _, f := range []fate{{drop: true}, {duplicate: true}, {delay: 1500 * time.Millisecond}} {
					a, b := policies()
					l := newLab(t, 1, n%2 == 0, a, b)
					l.apply(c.change)
					l.rule = func(p *packet) fate {
						if p.number == n {
							return f
						}
						return fate{}
					}
					l.establish()
					l.settle()
					l.consistent(c.children)
					sent = max(sent, l.sent)
				}
				if n >= sent {
					break
				}
			}
		})
	}
}
