package ikekeys

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// listener follows a conversation with nothing but the shared secrets.
type listener struct {
	t *testing.T
	script
	sas      map[[2]ikewire.IKESPI]*sa
	request  []ikewire.Payload // of the exchange that is going on
	opened   int
	verified int
}

// sa is one IKE SA. Index 0 is the original initiator.
type sa struct {
	keys    *Keys
	protect [2]*Protection
	parts   [2]ikewire.Reassembly
	init    [2][]byte // messages of IKE_SA_INIT
	nonces  [2][]byte
}

func end(f ikewire.Flags) int {
	if f.Initiator() {
		return 0
	}
	return 1
}

func (l *listener) hear(raw []byte) {
	t := l.t
	m, err := ikewire.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	h := m.Header
	if h.Exchange == ikewire.IKESAInit {
		l.hearInit(h, m)
		return
	}
	of := l.sas[[2]ikewire.IKESPI{h.InitiatorSPI, h.ResponderSPI}]
	if of == nil {
		t.Fatalf("%v %d is of no known SA", h.Exchange, h.MessageID)
	}
	p := of.protect[end(h.Flags)]
	e, sealed, err := m.Envelope(p.Sizes())
	if err != nil || !sealed {
		t.Fatalf("%v %d: %v", h.Exchange, h.MessageID, err)
	}
	inside, err := p.Open(e)
	if err != nil {
		t.Fatalf("%v %d: %v", h.Exchange, h.MessageID, err)
	}
	l.opened++
	l.sealAgain(p, e)
	first, whole := e.Next, true
	if e.Total > 0 {
		if inside, first, whole, err = of.parts[end(h.Flags)].Add(e, inside); err != nil {
			t.Fatal(err)
		}
	}
	if !whole {
		return
	}
	of.parts[end(h.Flags)] = ikewire.Reassembly{}
	ps, err := ikewire.ParsePayloads(first, inside)
	if err != nil {
		t.Fatal(err)
	}
	if h.Exchange == ikewire.IKEAuth {
		l.checkAUTH(of, end(h.Flags), ps)
	}
	if !h.Flags.Response() {
		l.request = ps
		return
	}
	switch h.Exchange {
	case ikewire.IKEAuth:
		l.checkChild(of, of.nonces, nil)
	case ikewire.CreateChildSA:
		l.hearCreate(of, end(h.Flags), ps)
	}
}

func (l *listener) hearInit(h ikewire.Header, m *ikewire.Message) {
	n, _ := ikewire.Find[ikewire.Nonce](m.Payloads)
	if !h.Flags.Response() {
		l.sas[[2]ikewire.IKESPI{}] = &sa{init: [2][]byte{m.Raw()}, nonces: [2][]byte{n.Data}}
		return
	}
	of := l.sas[[2]ikewire.IKESPI{}]
	of.init[1], of.nonces[1] = m.Raw(), n.Data
	keys, err := Derive(l.suite, of.nonces[0], of.nonces[1], l.nextSecret(), h.InitiatorSPI, h.ResponderSPI)
	if err != nil {
		l.t.Fatal(err)
	}
	l.begin(of, keys, h.InitiatorSPI, h.ResponderSPI)
}

// begin compares the keys of an IKE SA with what the daemon logged.
func (l *listener) begin(of *sa, keys *Keys, spii, spir ikewire.IKESPI) {
	t := l.t
	if len(l.script.keys) == 0 {
		t.Fatal("the log has no keys for this SA")
	}
	got := [7][]byte{keys.SKd, keys.SKai, keys.SKar, keys.SKei, keys.SKer, keys.SKpi, keys.SKpr}
	for i, want := range l.script.keys[0] {
		if !bytes.Equal(got[i], want) {
			t.Errorf("key %d is %x, strongSwan has %x", i, got[i], want)
		}
	}
	l.script.keys = l.script.keys[1:]
	l.verified++
	var err error
	of.keys = keys
	if of.protect[0], of.protect[1], err = keys.Protections(1); err != nil {
		t.Fatal(err)
	}
	l.sas[[2]ikewire.IKESPI{spii, spir}] = of
}

func (l *listener) nextSecret() []byte {
	if len(l.secrets) == 0 {
		l.t.Fatal("the log has no secret for this exchange")
	}
	secret := l.secrets[0]
	l.secrets = l.secrets[1:]
	return secret
}

// hearCreate follows a CREATE_CHILD_SA exchange, whose initiator may be either end.
func (l *listener) hearCreate(of *sa, responder int, ps []ikewire.Payload) {
	ni, _ := ikewire.Find[ikewire.Nonce](l.request)
	nr, _ := ikewire.Find[ikewire.Nonce](ps)
	offer, _ := ikewire.Find[ikewire.SA](l.request)
	chosen, _ := ikewire.Find[ikewire.SA](ps)
	var secrets [][]byte
	if _, fresh := ikewire.Find[ikewire.KE](ps); fresh {
		secrets = append(secrets, l.nextSecret())
	}
	if chosen.Proposals[0].Protocol != ikewire.ProtocolIKE {
		l.checkChild(of, [2][]byte{ni.Data, nr.Data}, secrets)
		return
	}
	spii, spir := ikewire.IKESPI(offer.Proposals[0].SPI), ikewire.IKESPI(chosen.Proposals[0].SPI)
	keys, err := of.keys.Rekey(suiteOf(l.t, chosen.Proposals[0]), ni.Data, nr.Data, spii, spir, secrets...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.begin(&sa{}, keys, spii, spir)
}

// TestStrongSwan: with the shared secrets alone every key that strongSwan logged is found, every message of both
// daemons is opened, and both AUTH payloads are what we should have sent.
func TestStrongSwan(t *testing.T) {
	files, err := filepath.Glob("testdata/strongswan/*.txt")
	if err != nil || len(files) != 11 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	prfs := map[uint16]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			l := &listener{t: t, script: readScript(t, file), sas: map[[2]ikewire.IKESPI]*sa{}}
			prfs[l.suite.PRF.ID] = true
			for _, raw := range slices.Clone(l.messages) {
				l.hear(raw)
			}
			t.Logf("%v: %d messages, %d opened, %d things compared", l.suite, len(l.messages), l.opened, l.verified)
			if l.verified != 6 || len(l.script.keys)+len(l.children)+len(l.secrets) != 0 || l.opened < len(l.messages)-2 {
				t.Errorf("%d things compared, want 6; left: %d keys, %d children, %d secrets", l.verified, len(l.script.keys), len(l.children), len(l.secrets))
			}
		})
	}
	if len(prfs) != len(transform.PRFs()) {
		t.Errorf("%d PRFs seen", len(prfs))
	}
}
