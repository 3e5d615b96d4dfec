package ikekeys

import (
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
	followup int               // IKE_FOLLOWUP_KE exchanges that will come before made
	made     func()            // what the CREATE_CHILD_SA exchange makes
	opened   int
	verified int
}

// sa is one IKE SA. Index 0 is the original initiator.
type sa struct {
	keys    *Keys
	protect [2]*Protection
	parts   [2]ikewire.Reassembly
	first   [2]ikewire.Envelope // of the message that is in parts
	init    [2][]byte           // messages of IKE_SA_INIT
	nonces  [2][]byte
	intAuth [2][]byte
}

func end(f ikewire.Flags) int {
	if f.Initiator() {
		return 0
	}
	return 1
}

func (l *listener) hear(raw []byte) {
	m, err := ikewire.Parse(raw)
	if err != nil {
		l.t.Fatal(err)
	}
	h := m.Header
	if h.Exchange == ikewire.IKESAInit {
		l.hearInit(h, m)
		return
	}
	of, from := l.sas[[2]ikewire.IKESPI{h.InitiatorSPI, h.ResponderSPI}], end(h.Flags)
	if of == nil {
		l.t.Fatalf("%v %d is of no known SA", h.Exchange, h.MessageID)
	}
	first, inside, whole := l.open(of, m)
	if !whole {
		return
	}
	ps, err := ikewire.ParsePayloads(first, inside)
	if err != nil {
		l.t.Fatal(err)
	}
	switch h.Exchange {
	case ikewire.IKEIntermediate:
		skp := [2][]byte{of.keys.SKpi, of.keys.SKpr}[from]
		of.intAuth[from] = IntAuth(of.keys.Suite.PRF, skp, of.intAuth[from], of.first[from].Intermediate(inside))
	case ikewire.IKEAuth:
		if l.ppk != nil && from == 0 {
			l.usePPK(of)
		}
		l.checkAUTH(of, h, ps)
	}
	if h.Flags.Response() {
		l.hearResponse(of, h, ps)
		return
	}
	l.request = ps
}

// open returns what is inside a message, if this was its last part.
func (l *listener) open(of *sa, m *ikewire.Message) (first ikewire.PayloadType, inside []byte, whole bool) {
	t, h, from := l.t, m.Header, end(m.Header.Flags)
	p := of.protect[from]
	e, sealed, err := m.Envelope(p.Sizes())
	if err != nil || !sealed {
		t.Fatalf("%v %d: %v", h.Exchange, h.MessageID, err)
	}
	if inside, err = p.Open(e); err != nil {
		t.Fatalf("%v %d: %v", h.Exchange, h.MessageID, err)
	}
	l.opened++
	l.sealAgain(p, e)
	if e.Number <= 1 {
		of.first[from] = e
	}
	if e.Total == 0 {
		return e.Next, inside, true
	}
	if inside, first, whole, err = of.parts[from].Add(e, inside); err != nil {
		t.Fatal(err)
	}
	if whole {
		of.parts[from] = ikewire.Reassembly{}
	}
	return first, inside, whole
}

func (l *listener) hearResponse(of *sa, h ikewire.Header, ps []ikewire.Payload) {
	switch h.Exchange {
	case ikewire.IKEIntermediate:
		keys, err := of.keys.WithAdditional(of.nonces[0], of.nonces[1], l.nextSecrets()[0], h.InitiatorSPI, h.ResponderSPI)
		if err != nil {
			l.t.Fatal(err)
		}
		l.begin(of, keys, h.InitiatorSPI, h.ResponderSPI)
	case ikewire.IKEAuth:
		l.checkChild(of, of.nonces, nil)
	case ikewire.CreateChildSA:
		l.hearCreate(of, ps)
	case ikewire.IKEFollowupKE:
		if l.followup--; l.followup == 0 {
			l.made()
		}
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
	keys, err := Derive(l.suite, of.nonces[0], of.nonces[1], l.nextSecrets()[0], h.InitiatorSPI, h.ResponderSPI)
	if err != nil {
		l.t.Fatal(err)
	}
	l.begin(of, keys, h.InitiatorSPI, h.ResponderSPI)
}

// begin starts an IKE SA, or its new keys.
func (l *listener) begin(of *sa, keys *Keys, spii, spir ikewire.IKESPI) {
	l.checkKeys([7][]byte{keys.SKd, keys.SKai, keys.SKar, keys.SKei, keys.SKer, keys.SKpi, keys.SKpr})
	var err error
	of.keys = keys
	if of.protect[0], of.protect[1], err = keys.Protections(1); err != nil {
		l.t.Fatal(err)
	}
	l.sas[[2]ikewire.IKESPI{spii, spir}] = of
}

// usePPK: messages stay protected as they were, RFC 8784 section 3.
func (l *listener) usePPK(of *sa) {
	keys, err := of.keys.WithPPK(l.ppk)
	if err != nil {
		l.t.Fatal(err)
	}
	l.checkKeys([7][]byte{0: keys.SKd, 5: keys.SKpi, 6: keys.SKpr})
	of.keys = keys
}

func (l *listener) nextSecrets() [][]byte {
	if len(l.secrets) == 0 {
		l.t.Fatal("the log has no secret for this exchange")
	}
	secrets := l.secrets[0]
	l.secrets = l.secrets[1:]
	return secrets
}

// hearCreate follows a CREATE_CHILD_SA exchange, whose initiator may be either end. What it makes is made after the
// last IKE_FOLLOWUP_KE exchange.
func (l *listener) hearCreate(of *sa, ps []ikewire.Payload) {
	ni, _ := ikewire.Find[ikewire.Nonce](l.request)
	nr, _ := ikewire.Find[ikewire.Nonce](ps)
	offer, _ := ikewire.Find[ikewire.SA](l.request)
	answer, _ := ikewire.Find[ikewire.SA](ps)
	_, fresh := ikewire.Find[ikewire.KE](ps)
	chosen := answer.Proposals[0]
	l.made = func() {
		var secrets [][]byte
		if fresh {
			secrets = l.nextSecrets()
		}
		if chosen.Protocol != ikewire.ProtocolIKE {
			l.checkChild(of, [2][]byte{ni.Data, nr.Data}, secrets)
			return
		}
		spii, spir := ikewire.IKESPI(offer.Proposals[0].SPI), ikewire.IKESPI(chosen.SPI)
		keys, err := of.keys.Rekey(suiteOf(l.t, chosen), ni.Data, nr.Data, spii, spir, secrets...)
		if err != nil {
			l.t.Fatal(err)
		}
		l.begin(&sa{}, keys, spii, spir)
	}
	for _, of := range chosen.Transforms {
		if of.Type >= ikewire.TransformADDKE1 && of.Type <= ikewire.TransformADDKE7 && of.ID != 0 {
			l.followup++
		}
	}
	if l.followup == 0 {
		l.made()
	}
}

// TestStrongSwan: with the shared secrets alone every key that strongSwan logged is found, every message of both
// daemons is opened, and both AUTH payloads are what we should have sent.
func TestStrongSwan(t *testing.T) {
	files, err := filepath.Glob("testdata/strongswan/*.txt")
	if err != nil || len(files) != 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	prfs := map[uint16]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			l := &listener{t: t, script: readScript(t, file), sas: map[[2]ikewire.IKESPI]*sa{}}
			prfs[l.suite.PRF.ID] = true
			want := 2 + len(l.script.keys) + len(l.children) // 2 AUTH payloads
			for _, raw := range slices.Clone(l.messages) {
				l.hear(raw)
			}
			t.Logf("%v: %d messages, %d opened, %d things compared", l.suite, len(l.messages), l.opened, l.verified)
			if want < 6 || l.verified != want || len(l.secrets) != 0 || l.opened < len(l.messages)-2 {
				t.Errorf("%d things compared, want %d; %d secrets left", l.verified, want, len(l.secrets))
			}
		})
	}
	if len(prfs) != len(transform.PRFs()) {
		t.Errorf("%d PRFs seen", len(prfs))
	}
}
