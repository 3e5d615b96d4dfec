package ike

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// states are labs in each state that a message of alice may meet bob in, or of bob alice.
var fuzzStates = []func(l *lab){
	func(l *lab) { l.establish() },
	func(l *lab) { l.establish(); l.alice.start(childRekey) },
	func(l *lab) { l.establish(); l.alice.start(ikeRekey) },
	func(l *lab) { l.establish(); l.alice.start(childDelete) },
	func(l *lab) { l.establish(); l.alice.start(childCreate) },
	func(l *lab) { l.establish(); l.alice.start(ikeDelete) },
	func(l *lab) { l.alice.initiate(); l.run(15*time.Millisecond, nil) }, // bob has answered IKE_SA_INIT
	func(l *lab) { l.alice.initiate(); l.run(25*time.Millisecond, nil) }, // IKE_AUTH is on its way
}

// FuzzMessage delivers messages whose inside is the fuzzer's, encrypted with the right keys, in each state. The machine
// may refuse or close, but must not panic, must leave a rejected message without effect, and its snapshot must restore.
func FuzzMessage(f *testing.F) {
	for state := range fuzzStates {
		for _, ps := range fuzzSeeds() {
			b, err := ikewire.AppendPayloads(nil, ps)
			if err != nil {
				f.Fatal(err)
			}
			for _, x := range []ikewire.ExchangeType{ikewire.IKEAuth, ikewire.CreateChildSA, ikewire.Informational, ikewire.IKEIntermediate, ikewire.IKEFollowupKE} {
				f.Add(uint8(state), uint8(x), state%2 == 1, uint8(ikewire.FirstType(ps)), b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, state, exchange uint8, response bool, first uint8, inside []byte) {
		if len(inside) > 4096 {
			return
		}
		a, b := policies()
		a.MOBIKE, b.MOBIKE, a.Redirects = true, true, true
		l := newLab(t, 1, false, a, b)
		fuzzStates[int(state)%len(fuzzStates)](l)
		from, to := l.alice, l.bob
		if response {
			from, to = l.bob, l.alice
		}
		if from.m == nil || to.m == nil || from.m.current().Keys == nil || to.m.current().Keys == nil {
			return
		}
		id := to.m.current().In.NextID
		if r := to.m.current().Out.Request; response && r != nil {
			id = r.ID
		}
		h := from.m.current().header(ikewire.ExchangeType(exchange), id, response)
		raw := sealRaw(t, from, h, ikewire.PayloadType(first), inside)
		if raw == nil {
			return
		}
		before := to.m.Snapshot().Bytes()
		err := to.m.HandlePacket(l.now, l.translate(from, from.path()), raw)
		if _, rejected := errors.AsType[*Rejection](err); rejected && !bytes.Equal(before, to.m.Snapshot().Bytes()) {
			t.Fatalf("rejected and changed: %v", err)
		}
		if _, err := Restore(to.cfg, to.m.Snapshot()); err != nil {
			t.Fatal(err)
		}
		to.work()
		l.run(5*time.Minute, nil)
	})
}

// sealRaw encrypts bytes that need not be payloads.
func sealRaw(t *testing.T, from *end, h ikewire.Header, first ikewire.PayloadType, inside []byte) []byte {
	t.Helper()
	cipher, err := from.m.protection(from.m.current())
	if err != nil {
		t.Fatal(err)
	}
	z := cipher.seal.Sizes()
	data := append(make([]byte, z.IV), ikewire.AppendPadding(bytes.Clone(inside), max(1, z.Block))...)
	data = append(data, make([]byte, z.ICV)...)
	raw, err := (&ikewire.Message{Header: h, Payloads: []ikewire.Payload{ikewire.SK{Next: first, Data: data}}}).Append(nil)
	if err != nil {
		return nil
	}
	msg, err := ikewire.Parse(raw)
	if err != nil {
		return nil
	}
	e, ok, err := msg.Envelope(z)
	if !ok || err != nil {
		return nil
	}
	if err := cipher.seal.Seal(e); err != nil {
		t.Fatal(err)
	}
	return e.Message
}

func fuzzSeeds() [][]ikewire.Payload {
	a, _ := policies()
	o := offer{Nonce: make([]byte, 32), Method: 31, Proposals: offerOf(a.Children[0].Proposals, spiBytes(0x4444)),
		TSi: a.Children[0].Local, TSr: a.Children[0].Remote}
	ike := offerOf(a.Proposals, []byte("spi-spi-"))
	public := bytes.Repeat([]byte{9}, 32)
	return [][]ikewire.Payload{
		nil,
		o.payloads(public),
		append(o.payloads(public), ikewire.NewChildNotify(ikewire.RekeySA, ikewire.ProtocolESP, 0x61001001)),
		{ikewire.SA{Proposals: ike}, ikewire.Nonce{Data: make([]byte, 32)}, ikewire.KE{Method: 31, Data: public}},
		{ikewire.Delete{Protocol: ikewire.ProtocolIKE}},
		{ikewire.NewDelete(ikewire.ProtocolESP, []uint32{0x61001001, 0x62001001})},
		{ikewire.Notify{Type: ikewire.TemporaryFailure}}, {ikewire.Notify{Type: ikewire.ChildSANotFound}},
		{ikewire.NewInvalidKE(19)}, {ikewire.Notify{Type: ikewire.NoProposalChosen}}, {ikewire.Notify{Type: ikewire.AuthenticationFailed}},
		{ikewire.Notify{Type: ikewire.UpdateSAAddresses}, ikewire.NewCookie2(make([]byte, 16))},
		{ikewire.IDi{Identification: fqdn("alice")}, ikewire.AUTH{Method: 2, Data: make([]byte, 32)}},
		{ikewire.IDr{Identification: fqdn("bob")}, ikewire.AUTH{Method: 2, Data: make([]byte, 32)}},
		{ikewire.KE{Method: 31, Data: public}, ikewire.NewAdditionalKeyExchange([]byte("link"))},
	}
}

// FuzzHello delivers IKE_SA_INIT requests to a responder, and answers to an initiator.
func FuzzHello(f *testing.F) {
	a, b := policies()
	l := newLab(f, 1, false, a, b)
	l.rule = func(p *packet) fate { f.Add(p.datagram); return fate{} }
	l.establish()
	f.Fuzz(func(t *testing.T, datagram []byte) {
		a, b := policies()
		l := newLab(t, 1, false, a, b)
		if hello, err := ParseHello(datagram); err == nil {
			if _, err := DemandCookie(hello, make([]byte, cookieLen)); err != nil {
				t.Fatal(err)
			}
		}
		m, _, err := Respond(l.now, l.bob.cfg, l.bob.path(), datagram)
		if err == nil && m == nil {
			t.Fatal("neither a machine nor an error")
		}
		l.alice.initiate()
		before := l.alice.m.Snapshot().Bytes()
		err = l.alice.m.HandlePacket(l.now, l.alice.path(), datagram)
		if _, rejected := errors.AsType[*Rejection](err); rejected && !bytes.Equal(before, l.alice.m.Snapshot().Bytes()) {
			t.Fatalf("rejected and changed: %v", err)
		}
	})
}

// FuzzRestore: a snapshot is sealed by its keeper, but one that is damaged must not panic either.
func FuzzRestore(f *testing.F) {
	a, b := policies()
	l := newLab(f, 1, false, a, b)
	l.alice.initiate()
	f.Add(l.alice.m.Snapshot().Bytes())
	l.run(2*time.Second, nil)
	f.Add(l.alice.m.Snapshot().Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Restore(l.alice.cfg, ParseSnapshot(data))
		if err == nil && m == nil {
			t.Fatal("neither a machine nor an error")
		}
	})
}
