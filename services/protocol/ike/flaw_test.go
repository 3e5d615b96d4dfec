package ike

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/keyexchange"
)

// halfOpenLab returns a lab in which bob has answered IKE_SA_INIT and alice has keys, but IKE_AUTH has not come.
func halfOpenLab(t *testing.T) *lab {
	t.Helper()
	a, b := policies()
	l := newLab(t, 1, false, a, b)
	l.rule = func(p *packet) fate { return fate{drop: p.number == 3} }
	l.alice.initiate()
	l.run(25*time.Millisecond, nil)
	if l.bob.m == nil || l.alice.m.current().Keys == nil {
		l.fail("no keys yet")
	}
	return l
}

// refusesAuth fails unless bob has answered AUTHENTICATION_FAILED, or INVALID_SYNTAX, and holds nothing.
func (l *lab) refusesAuth(want ikewire.NotifyType) {
	l.t.Helper()
	if n, _ := firstError(l.lastAnswer(l.bob)); n.Type != want {
		l.fail("answered %v", l.lastAnswer(l.bob))
	}
	if l.bob.established || l.bob.closed == nil || len(l.bob.in) > 0 || l.bob.persisted != nil {
		l.fail("bob holds something of a peer that has proven nothing")
	}
}

// TestCVE_2021_45079: strongSwan took an initiator for authenticated that skipped AUTH by way of EAP. Without AUTH
// nothing is authenticated here, whatever else the message has.
func TestCVE_2021_45079(t *testing.T) {
	for _, extra := range [][]ikewire.Payload{nil, {ikewire.EAP{Message: []byte{3, 1, 0, 4}}}} {
		l := halfOpenLab(t)
		l.inject(l.alice, ikewire.IKEAuth, 1, false, append(extra, ikewire.IDi{Identification: fqdn("alice")})...)
		l.refusesAuth(ikewire.AuthenticationFailed)
	}
}

// TestCVE_2021_45079_Initiator: nor does a responder become authenticated by saying so.
func TestCVE_2021_45079_Initiator(t *testing.T) {
	for _, ps := range [][]ikewire.Payload{
		{ikewire.EAP{Message: []byte{3, 1, 0, 4}}},
		{ikewire.IDr{Identification: fqdn("bob")}, ikewire.EAP{Message: []byte{3, 1, 0, 4}}},
		{ikewire.IDr{Identification: fqdn("bob")}},
		nil,
	} {
		l := halfOpenLab(t)
		l.inject(l.bob, ikewire.IKEAuth, 1, true, ps...)
		if l.alice.established || l.alice.m != nil || l.alice.closed.Reason != AuthenticationFailed {
			l.fail("alice: %v", l.alice.closed)
		}
	}
}

// TestCVE_2024_2357: Libreswan failed an assertion where a secret was missing. Here there is no proof, and the end.
func TestCVE_2024_2357(t *testing.T) {
	a, b := policies()
	l := newLab(t, 1, false, a, b)
	l.bob.psk = ""
	l.alice.initiate()
	l.run(10*time.Minute, nil)
	if l.alice.m != nil || l.bob.m != nil || l.alice.established || l.bob.established {
		l.fail("established without a secret")
	}
}

// TestCVE_2023_38710: Libreswan crashed on REKEY_SA with a protocol or an SPI of no child SA.
func TestCVE_2023_38710(t *testing.T) {
	for _, n := range []ikewire.Notify{
		{Type: ikewire.RekeySA, Protocol: ikewire.ProtocolESP},
		{Type: ikewire.RekeySA, Protocol: ikewire.ProtocolESP, SPI: []byte{1}},
		{Type: ikewire.RekeySA, Protocol: ikewire.ProtocolESP, SPI: bytes.Repeat([]byte{1}, 255)},
		{Type: ikewire.RekeySA, Protocol: ikewire.ProtocolIKE, SPI: make([]byte, 8)},
		{Type: ikewire.RekeySA, Protocol: 200, SPI: make([]byte, 4)},
	} {
		l := establishedLab(t, false, func(*lab, *Policy, *Policy) {})
		l.inject(l.alice, ikewire.CreateChildSA, l.alice.m.current().Out.NextID, false, append(l.childRequest(nil), n)...)
		if got, _ := firstError(l.lastAnswer(l.bob)); got.Type != ikewire.InvalidSyntax || len(l.bob.in) != 1 {
			l.fail("%v is answered %v", n, got)
		}
	}
}

// TestCVE_2023_41913: strongSwan's charon-tkm copied public values without a look at their length.
func TestCVE_2023_41913(t *testing.T) {
	for _, method := range []uint16{keyexchange.X25519, keyexchange.P256, keyexchange.MODP2048, keyexchange.MLKEM768} {
		for _, n := range []int{1, 31, 33, 63, 65, 255, 257, 1183, 1185, 8000} {
			a, b := policies()
			b.Proposals = []Proposal{ikeProposal(method)}
			l := newLab(t, 1, false, a, b)
			h := ikewire.Header{InitiatorSPI: ikewire.IKESPI{1}, Exchange: ikewire.IKESAInit, Flags: ikewire.FlagInitiator}
			raw, err := (&ikewire.Message{Header: h, Payloads: []ikewire.Payload{ikewire.SA{Proposals: offerOf(b.Proposals, nil)},
				ikewire.KE{Method: method, Data: bytes.Repeat([]byte{2}, n)}, ikewire.Nonce{Data: make([]byte, 32)}}}).Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			l.bob.receive(Path{Local: l.bob.path().Local, Remote: l.alice.path().Local}, raw)
			if l.bob.m != nil || len(l.bob.rejections) != 1 || l.bob.rejections[0] != BadPublicValue {
				l.fail("%s of %d bytes: %v", methodName(method), n, l.bob.rejections)
			}
		}
	}
}

// TestReflectedHello: our own IKE_SA_INIT request comes back as its answer.
func TestReflectedHello(t *testing.T) {
	a, b := policies()
	l := newLab(t, 1, false, a, b)
	l.rule = func(*packet) fate { return fate{drop: true} }
	l.alice.initiate()
	msg, err := ikewire.Parse(bytes.Clone(l.alice.m.Handshake.InitI))
	if err != nil {
		t.Fatal(err)
	}
	msg.Header.Flags, msg.Header.ResponderSPI = ikewire.FlagResponse, ikewire.IKESPI{7}
	raw, err := msg.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	l.deliverTo(l.alice, raw)
	if l.alice.rejections[0] != Reflected {
		l.fail("rejected as %v", l.alice.rejections)
	}
	l.deliverTo(l.alice, l.alice.m.Handshake.InitI)
	if l.alice.rejections[1] != WrongDirection {
		l.fail("rejected as %v", l.alice.rejections)
	}
}

func (l *lab) deliverTo(e *end, raw []byte) { e.receive(e.path(), raw) }

// TestReflectedNonce: the peer answers CREATE_CHILD_SA with our own nonce.
func TestReflectedNonce(t *testing.T) {
	l := establishedLab(t, false, func(*lab, *Policy, *Policy) {})
	l.rule = func(*packet) fate { return fate{drop: true} }
	l.alice.start(childCreate)
	r := l.alice.m.current().Out.Request
	l.inject(l.bob, ikewire.CreateChildSA, r.ID, true, ikewire.Nonce{Data: r.Task.Offer.Nonce})
	if l.alice.rejections[0] != Reflected || l.alice.m.current().Out.Request == nil {
		l.fail("rejected as %v", l.alice.rejections)
	}
}

// TestMajorVersion: RFC 7296 section 2.5.
func TestMajorVersion(t *testing.T) {
	a, b := policies()
	l := newLab(t, 1, false, a, b)
	l.rule = func(*packet) fate { return fate{drop: true} }
	l.alice.initiate()
	raw := bytes.Clone(l.alice.m.Handshake.InitI)
	raw[17] = 0x30
	_, reply, err := Respond(l.now, l.bob.cfg, l.bob.path(), raw)
	if err == nil {
		t.Fatal("version 3 is taken")
	}
	msg, err := ikewire.Parse(reply)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := ikewire.FindNotify(msg.Payloads, ikewire.InvalidMajorVersion); !ok || msg.Header.InitiatorSPI != l.alice.m.current().SPIi {
		t.Errorf("answered %v", msg)
	}
}

// TestSecretsRedact: nothing that prints an action or a snapshot shows a key.
func TestSecretsRedact(t *testing.T) {
	l := establishedLab(t, false, func(*lab, *Policy, *Policy) {})
	for _, a := range l.alice.actions {
		in, ok := a.(InstallInbound)
		if !ok {
			continue
		}
		for _, s := range printed(in) {
			if bytes.Contains(s, in.Keymat) || bytes.Contains(s, []byte(hexOf(in.Keymat))) || !bytes.Contains(s, []byte(redacted)) {
				t.Errorf("%s", s)
			}
		}
	}
	for _, s := range printed(l.alice.m.Snapshot()) {
		if !bytes.Equal(bytes.Trim(s, `"`), []byte(redacted)) {
			t.Errorf("%s", s)
		}
	}
}

// TestUnknownCriticalPayloadInHello: RFC 7296 section 2.5; without the critical bit it is skipped.
func TestUnknownCriticalPayloadInHello(t *testing.T) {
	for _, critical := range []bool{true, false} {
		a, b := policies()
		l := newLab(t, 1, false, a, b)
		l.rule = func(*packet) fate { return fate{drop: true} }
		l.alice.initiate()
		msg, err := ikewire.Parse(bytes.Clone(l.alice.m.Handshake.InitI))
		if err != nil {
			t.Fatal(err)
		}
		msg.Payloads = append(msg.Payloads, ikewire.Opaque{Type: 200, Critical: critical})
		raw, err := msg.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		m, reply, err := Respond(l.now, l.bob.cfg, l.bob.path(), raw)
		if !critical {
			if m == nil || err != nil {
				t.Errorf("not skipped: %v", err)
			}
			continue
		}
		answer, parseErr := ikewire.Parse(reply)
		if m != nil || err == nil || parseErr != nil {
			t.Fatalf("taken, or answered %x", reply)
		}
		n, _ := ikewire.FindNotify(answer.Payloads, ikewire.UnsupportedCriticalPayload)
		if kind, err := n.CriticalPayload(); err != nil || kind != 200 {
			t.Errorf("answered %v", answer.Payloads)
		}
	}
}

// TestPendingIsBounded: a peer cannot heap up answers while the caller runs no actions.
func TestPendingIsBounded(t *testing.T) {
	l := establishedLab(t, false, func(*lab, *Policy, *Policy) {})
	var err error
	sa := l.alice.m.current()
	for id := sa.Out.NextID; err == nil && id < 2*maxPending; id++ {
		all, _, sealErr := l.alice.m.seal(sa, sa.header(ikewire.Informational, id, false), l.alice.path(), nil)
		if sealErr != nil {
			t.Fatal(sealErr)
		}
		err = l.bob.m.HandlePacket(l.now, l.translate(l.alice, l.alice.path()), all[0])
	}
	if r, ok := errors.AsType[*Rejection](err); !ok || r.Reason != TooMany {
		t.Errorf("%v", err)
	}
}
