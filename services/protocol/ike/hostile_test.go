package ike

import (
	"slices"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/keyexchange"
)

// inject seals payloads as an authenticated, but hostile, end would, and delivers them to its peer.
func (l *lab) inject(from *end, x ikewire.ExchangeType, id uint32, response bool, ps ...ikewire.Payload) {
	l.t.Helper()
	l.injectTo(from, from.m.current().header(x, id, response), ps)
}

func (l *lab) injectTo(from *end, h ikewire.Header, ps []ikewire.Payload) {
	l.t.Helper()
	fragments := from.m.Peer.Fragments
	from.m.Peer.Fragments = false
	all, _, err := from.m.seal(from.m.current(), h, from.path(), ps)
	from.m.Peer.Fragments = fragments
	if err != nil {
		l.t.Fatal(err)
	}
	l.deliverRaw(from, all[0])
}

func (l *lab) deliverRaw(from *end, datagram []byte) {
	l.t.Helper()
	from.peer.receive(l.translate(from, from.path()), datagram)
}

// lastAnswer opens the last response that an end has sent on its current IKE SA.
func (l *lab) lastAnswer(e *end) []ikewire.Payload {
	l.t.Helper()
	msg, err := ikewire.Parse(e.m.current().In.Response[0])
	if err != nil {
		l.t.Fatal(err)
	}
	o, err := e.peer.m.open(e.peer.m.current(), msg)
	if err != nil {
		l.t.Fatal(err)
	}
	ps, err := ikewire.ParsePayloads(o.Envelope.Next, o.Text)
	if err != nil {
		l.t.Fatal(err)
	}
	return ps
}

// requests are what an authenticated peer may try, and how it is answered. 0: without an error.
var requests = []struct {
	name   string
	x      ikewire.ExchangeType
	ps     func(l *lab) []ikewire.Payload
	answer ikewire.NotifyType
}{
	{"nothing", ikewire.Informational, func(*lab) []ikewire.Payload { return nil }, 0},
	{"unknown payload", ikewire.Informational, func(*lab) []ikewire.Payload {
		return []ikewire.Payload{ikewire.Opaque{Type: 200, Data: []byte("x")}}
	}, 0},
	{"unknown critical payload", ikewire.Informational, func(*lab) []ikewire.Payload {
		return []ikewire.Payload{ikewire.Opaque{Type: 200, Critical: true}}
	}, ikewire.UnsupportedCriticalPayload},
	{"unknown status notify", ikewire.Informational, func(*lab) []ikewire.Payload {
		return []ikewire.Payload{ikewire.Notify{Type: 40000}}
	}, 0},
	{"unknown error notify", ikewire.Informational, func(*lab) []ikewire.Payload {
		return []ikewire.Payload{ikewire.Notify{Type: 9999}}
	}, 0},
	{"delete of a child that is not", ikewire.Informational, func(*lab) []ikewire.Payload {
		return []ikewire.Payload{ikewire.NewDelete(ikewire.ProtocolESP, []uint32{0xdeadbeef})}
	}, 0},
	{"delete of our own SPI", ikewire.Informational, func(l *lab) []ikewire.Payload {
		return []ikewire.Payload{ikewire.NewDelete(ikewire.ProtocolESP, []uint32{l.bob.m.Children[0].Inbound})}
	}, 0},
	{"rekey of a child that is not", ikewire.CreateChildSA, func(l *lab) []ikewire.Payload {
		return append(l.childRequest(nil), ikewire.NewChildNotify(ikewire.RekeySA, ikewire.ProtocolESP, 0xdeadbeef))
	}, ikewire.ChildSANotFound},
	{"rekey with REKEY_SA of no child protocol", ikewire.CreateChildSA, func(l *lab) []ikewire.Payload {
		return append(l.childRequest(nil), ikewire.Notify{Type: ikewire.RekeySA})
	}, ikewire.InvalidSyntax},
	{"child without a nonce", ikewire.CreateChildSA, func(l *lab) []ikewire.Payload {
		return slices.DeleteFunc(l.childRequest(nil), func(p ikewire.Payload) bool { _, ok := p.(ikewire.Nonce); return ok })
	}, ikewire.InvalidSyntax},
	{"child with a bad public value", ikewire.CreateChildSA, func(l *lab) []ikewire.Payload {
		return l.childRequest(make([]byte, 32))
	}, ikewire.InvalidSyntax},
	{"child with a short public value", ikewire.CreateChildSA, func(l *lab) []ikewire.Payload {
		return l.childRequest(make([]byte, 31))
	}, ikewire.InvalidSyntax},
	{"IKE rekey without KE", ikewire.CreateChildSA, func(l *lab) []ikewire.Payload {
		return []ikewire.Payload{ikewire.SA{Proposals: offerOf(l.alice.m.Policy.Proposals, make([]byte, 8))}, ikewire.Nonce{Data: make([]byte, 32)}}
	}, ikewire.InvalidSyntax},
	{"IKE rekey with the SPI zero", ikewire.CreateChildSA, func(l *lab) []ikewire.Payload {
		return []ikewire.Payload{ikewire.SA{Proposals: offerOf(l.alice.m.Policy.Proposals, make([]byte, 8))}, ikewire.Nonce{Data: make([]byte, 32)},
			ikewire.KE{Method: keyexchange.X25519, Data: slices.Repeat([]byte{9}, 32)}}
	}, ikewire.InvalidSyntax},
	{"IKE rekey with the SPI there is", ikewire.CreateChildSA, func(l *lab) []ikewire.Payload {
		spi := l.alice.m.current().SPIi
		return []ikewire.Payload{ikewire.SA{Proposals: offerOf(l.alice.m.Policy.Proposals, spi[:])}, ikewire.Nonce{Data: make([]byte, 32)},
			ikewire.KE{Method: keyexchange.X25519, Data: slices.Repeat([]byte{9}, 32)}}
	}, ikewire.InvalidSyntax},
	{"follow-up to nothing", ikewire.IKEFollowupKE, func(l *lab) []ikewire.Payload {
		return []ikewire.Payload{ikewire.KE{Method: keyexchange.X25519, Data: slices.Repeat([]byte{9}, 32)},
			ikewire.NewAdditionalKeyExchange([]byte("link"))}
	}, ikewire.StateNotFound},
	{"follow-up without a link", ikewire.IKEFollowupKE, func(l *lab) []ikewire.Payload { return nil }, ikewire.StateNotFound},
}

// childRequest asks for a child as alice, with that public value.
func (l *lab) childRequest(public []byte) []ikewire.Payload {
	m := l.alice.m
	o, err := m.newOffer(&m.Policy.Children[0], m.Policy.Children[0].Proposals, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	if public == nil {
		public = slices.Repeat([]byte{9}, 32)
	}
	o.Method = keyexchange.X25519
	return o.payloads(public)
}

func TestHostileRequests(t *testing.T) {
	for _, c := range requests {
		t.Run(c.name, func(t *testing.T) {
			l := establishedLab(t, true, func(*lab, *Policy, *Policy) {})
			l.inject(l.alice, c.x, l.alice.m.current().Out.NextID, false, c.ps(l)...)
			n, refused := firstError(l.lastAnswer(l.bob))
			if refused != (c.answer != 0) || n.Type != c.answer {
				l.fail("answered %v", l.lastAnswer(l.bob))
			}
			if len(l.bob.m.Children) != 1 || len(l.bob.in) != 1 || l.bob.m.Phase != established {
				l.fail("it has changed something: %+v", l.bob.m.Status())
			}
		})
	}
}

// rejections are datagrams that are dropped with a reason, and change nothing: end.receive compares.
var rejected = []struct {
	name   string
	reason Reason
	send   func(l *lab)
}{
	{"empty", Malformed, func(l *lab) { l.deliverRaw(l.alice, nil) }},
	{"garbage", Malformed, func(l *lab) { l.deliverRaw(l.alice, []byte("garbage")) }},
	{"future message", FutureMessage, func(l *lab) {
		l.inject(l.alice, ikewire.Informational, l.alice.m.current().Out.NextID+1, false)
	}},
	{"far future message", FutureMessage, func(l *lab) { l.inject(l.alice, ikewire.Informational, 0xffffffff, false) }},
	{"old message", OldMessage, func(l *lab) { l.inject(l.alice, ikewire.Informational, 0, false) }},
	{"unexpected response", OldMessage, func(l *lab) { l.inject(l.alice, ikewire.Informational, 5, true) }},
	{"IKE_AUTH again", UnexpectedExchange, func(l *lab) {
		l.inject(l.alice, ikewire.IKEAuth, l.alice.m.current().Out.NextID, false)
	}},
	{"IKE_INTERMEDIATE too late", UnexpectedExchange, func(l *lab) {
		l.inject(l.alice, ikewire.IKEIntermediate, l.alice.m.current().Out.NextID, false)
	}},
	{"unknown exchange", UnexpectedExchange, func(l *lab) { l.inject(l.alice, 99, l.alice.m.current().Out.NextID, false) }},
	{"another SPI", UnknownSPI, func(l *lab) {
		h := l.alice.m.current().header(ikewire.Informational, 2, false)
		h.ResponderSPI[0] ^= 1
		l.injectTo(l.alice, h, nil)
	}},
	{"another SPI of the peer", UnknownSPI, func(l *lab) {
		h := l.alice.m.current().header(ikewire.Informational, 2, false)
		h.InitiatorSPI[0] ^= 1
		l.injectTo(l.alice, h, nil)
	}},
	{"our direction", WrongDirection, func(l *lab) {
		h := l.alice.m.current().header(ikewire.Informational, 2, false)
		h.Flags = 0
		l.injectTo(l.alice, h, nil)
	}},
	{"in clear", NotAuthentic, func(l *lab) {
		h := l.alice.m.current().header(ikewire.Informational, 2, false)
		raw, err := (&ikewire.Message{Header: h, Payloads: []ikewire.Payload{ikewire.Delete{Protocol: ikewire.ProtocolIKE}}}).Append(nil)
		if err != nil {
			l.t.Fatal(err)
		}
		l.deliverRaw(l.alice, raw)
	}},
	{"INVALID_SYNTAX in clear", NotAuthentic, func(l *lab) {
		h := l.alice.m.current().header(ikewire.Informational, 2, false)
		raw, err := (&ikewire.Message{Header: h, Payloads: []ikewire.Payload{ikewire.Notify{Type: ikewire.InvalidSyntax}}}).Append(nil)
		if err != nil {
			l.t.Fatal(err)
		}
		l.deliverRaw(l.alice, raw)
	}},
	{"IKE_SA_INIT again", UnexpectedExchange, func(l *lab) {
		h := l.alice.m.current().header(ikewire.IKESAInit, 0, false)
		raw, err := (&ikewire.Message{Header: h, Payloads: []ikewire.Payload{ikewire.Nonce{Data: make([]byte, 32)}}}).Append(nil)
		if err != nil {
			l.t.Fatal(err)
		}
		l.deliverRaw(l.alice, raw)
	}},
}

func TestRejected(t *testing.T) {
	for _, c := range rejected {
		t.Run(c.name, func(t *testing.T) {
			l := establishedLab(t, true, func(*lab, *Policy, *Policy) {})
			l.bob.rejections = nil
			c.send(l)
			if !slices.Equal(l.bob.rejections, []Reason{c.reason}) {
				l.fail("rejected as %v, want %s", l.bob.rejections, c.reason)
			}
		})
	}
}

// TestEveryBitIsAuthentic flips each bit of a request in turn: none gets in, none changes anything.
func TestEveryBitIsAuthentic(t *testing.T) {
	l := establishedLab(t, false, func(*lab, *Policy, *Policy) {})
	var request []byte
	l.rule = func(p *packet) fate {
		request = p.datagram
		return fate{drop: true}
	}
	l.alice.command(Probe{})
	for i := range len(request) * 8 {
		mutant := slices.Clone(request)
		mutant[i/8] ^= 1 << (i % 8)
		count := len(l.bob.rejections)
		l.deliverRaw(l.alice, mutant)
		if len(l.bob.rejections) == count {
			l.fail("bit %d of byte %d may be flipped", i%8, i/8)
		}
	}
	for n := range request {
		count := len(l.bob.rejections)
		l.deliverRaw(l.alice, request[:n])
		if len(l.bob.rejections) == count {
			l.fail("a prefix of %d bytes is taken", n)
		}
	}
	l.rule = nil
	l.settle()
	l.consistent(1)
}

// TestInvalidSyntaxIsFatal: RFC 7296 section 2.21.3, for a request that is authentic and cannot be read.
func TestInvalidSyntaxIsFatal(t *testing.T) {
	l := establishedLab(t, true, func(*lab, *Policy, *Policy) {})
	sa := l.alice.m.current()
	cipher, err := l.alice.m.protection(sa)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ikewire.Seal(sa.header(ikewire.Informational, sa.Out.NextID, false), nil, []ikewire.Payload{ikewire.Nonce{Data: make([]byte, 16)}}, cipher.seal.Sizes())
	if err != nil {
		t.Fatal(err)
	}
	e.Text[3] = 200 // the payload's length
	if err := cipher.seal.Seal(e); err != nil {
		t.Fatal(err)
	}
	l.deliverRaw(l.alice, e.Message)
	if l.bob.closed == nil || l.bob.closed.Reason != Malformed || len(l.bob.in) > 0 {
		l.fail("bob goes on: %v", l.bob.closed)
	}
	l.run(10*time.Minute, nil)
	if l.bob.m != nil {
		l.fail("bob is not gone")
	}
}
