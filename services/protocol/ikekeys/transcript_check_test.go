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

// checkAUTH: the AUTH of either end is the one of RFC 7296 section 2.15.
func (l *listener) checkAUTH(of *sa, from int, ps []ikewire.Payload) {
	auth, ok := ikewire.Find[ikewire.AUTH](ps)
	if !ok || auth.Method != ikewire.AuthSharedKey {
		l.t.Fatalf("AUTH is %v", auth)
	}
	id, skp := l.idBody(from, ps), of.keys.SKpi
	if from == 1 {
		skp = of.keys.SKpr
	}
	prf := of.keys.Suite.PRF
	octets := SignedOctets(prf, skp, of.init[from], of.nonces[1-from], id, nil)
	if want := SharedKeyAUTH(prf, l.psk, octets); !bytes.Equal(auth.Data, want) {
		l.t.Errorf("AUTH of end %d is %x, we make %x", from, auth.Data, want)
	}
	l.verified++
}

func (l *listener) idBody(from int, ps []ikewire.Payload) []byte {
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
