package ikekeys

import (
	"bytes"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// sealAgain: with its IV and padding we make the very message that strongSwan sent.
func (l *listener) sealAgain(p *Protection, e ikewire.Envelope) {
	text, ok := p.cover.open(e)
	if !ok {
		l.t.Fatal("opened once only")
	}
	again := cut(l.t, bytes.Clone(e.Message), p.Sizes())
	copy(again.Text, text)
	clear(again.ICV)
	p.cover.seal(again)
	if !bytes.Equal(again.Message, e.Message) {
		l.t.Errorf("sealed %x\nwant   %x", again.Message, e.Message)
	}
}

// checkKeys: what we have is what the daemon logged; what is nil here is not in the log.
func (l *listener) checkKeys(got [7][]byte) {
	if len(l.script.keys) == 0 {
		l.t.Fatal("the log has no keys for this SA")
	}
	for i, want := range l.script.keys[0] {
		if !bytes.Equal(got[i], want) {
			l.t.Errorf("key %d is %x, strongSwan has %x", i, got[i], want)
		}
	}
	l.script.keys = l.script.keys[1:]
	l.verified++
}

// checkAUTH: the AUTH of either end is the one of RFC 7296 section 2.15.
func (l *listener) checkAUTH(of *sa, h ikewire.Header, ps []ikewire.Payload) {
	from := end(h.Flags)
	auth, ok := ikewire.Find[ikewire.AUTH](ps)
	if !ok || auth.Method != ikewire.AuthSharedKey {
		l.t.Fatalf("AUTH is %v", auth)
	}
	prf, skp := of.keys.Suite.PRF, [2][]byte{of.keys.SKpi, of.keys.SKpr}[from]
	var intAuth []byte
	if of.intAuth[0] != nil {
		intAuth = Intermediate(of.intAuth[0], of.intAuth[1], h.MessageID)
	}
	octets := SignedOctets(prf, skp, of.init[from], of.nonces[1-from], idBody(from, ps), intAuth)
	if want := SharedKeyAUTH(prf, l.psk, octets); !bytes.Equal(auth.Data, want) {
		l.t.Errorf("AUTH of end %d is %x, we make %x", from, auth.Data, want)
	}
	l.verified++
}

func idBody(from int, ps []ikewire.Payload) []byte {
	if from == 0 {
		id, _ := ikewire.Find[ikewire.IDi](ps)
		return id.Body()
	}
	id, _ := ikewire.Find[ikewire.IDr](ps)
	return id.Body()
}

func (l *listener) checkChild(of *sa, nonces [2][]byte, secrets [][]byte) {
	i, r, err := of.keys.ChildKeymat(l.child.KeymatLen(), nonces[0], nonces[1], secrets...)
	if err != nil {
		l.t.Fatal(err)
	}
	if len(l.children) == 0 || !bytes.Equal(i, l.children[0][0]) || !bytes.Equal(r, l.children[0][1]) {
		l.t.Fatalf("KEYMAT is %x, %x, strongSwan has %x", []byte(i), []byte(r), l.children)
	}
	l.children = l.children[1:]
	l.verified++
}

func suiteOf(t testing.TB, p ikewire.Proposal) (s Suite) {
	t.Helper()
	var err error
	for _, of := range p.Transforms {
		switch bits, _ := of.KeyBits(); of.Type {
		case ikewire.TransformENCR:
			s.Encryption, err = transform.InsecureByID(of.ID, bits)
		case ikewire.TransformINTEG:
			s.Integrity, err = transform.IntegrityByID(of.ID)
		case ikewire.TransformPRF:
			s.PRF, err = transform.PRFByID(of.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}
