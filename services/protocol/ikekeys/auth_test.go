package ikekeys

import (
	"bytes"
	"slices"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// RFC 7296 section 2.15; that SignedOctets and SharedKeyAUTH are what peers make is shown by TestStrongSwan.
func TestSignedOctets(t *testing.T) {
	for _, prf := range transform.PRFs() {
		skp, message, id := fill(prf.KeyLen, 7), []byte("the message"), []byte("the ID payload's body")
		maced := prf.Sum(nil, skp, id)
		for _, intAuth := range [][]byte{nil, []byte("what was exchanged in between")} {
			want := slices.Concat(message, nonceR, maced, intAuth)
			got := SignedOctets(prf, skp, message, nonceR, id, intAuth)
			if !bytes.Equal(got, want) {
				t.Errorf("%v: %x, want %x", prf, got, want)
			}
			padded := prf.Sum(nil, []byte("secret"), []byte("Key Pad for IKEv2"))
			if auth := SharedKeyAUTH(prf, []byte("secret"), got); !bytes.Equal(auth, prf.Sum(nil, padded, want)) || len(auth) != prf.OutputLen {
				t.Errorf("%v: AUTH %x", prf, auth)
			}
		}
		if string(message) != "the message" || !bytes.Equal(skp, fill(prf.KeyLen, 7)) {
			t.Errorf("%v: an input was changed", prf)
		}
	}
}

// RFC 9242 section 3.3.2: two IKE_INTERMEDIATE exchanges, the first of which changes the keys. Its messages are
// authenticated with the keys that they were sent under.
func TestIntAuth(t *testing.T) {
	s := parseSuite(t, "aes128gcm16", "prfsha256")
	first := derive(t, s)
	second, err := first.WithAdditional(nonceI, nonceR, []byte("SK(1)"), spiI, spiR)
	if err != nil {
		t.Fatal(err)
	}
	h := header(1)
	h.Exchange = ikewire.IKEIntermediate
	message := func(keys *Keys, id uint32) (authenticated, want []byte) {
		p, _, err := keys.Protections(1)
		if err != nil {
			t.Fatal(err)
		}
		h.MessageID = id
		e, err := ikewire.Seal(h, nil, inside(), p.Sizes())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Seal(e); err != nil {
			t.Fatal(err)
		}
		text, err := p.Open(cut(t, e.Message, p.Sizes()))
		if err != nil {
			t.Fatal(err)
		}
		n := len(e.AAD) + len(text)
		want = slices.Concat(e.AAD, text)
		want[26], want[27] = byte(n>>8), byte(n)
		want[30], want[31] = byte((len(text)+4)>>8), byte(len(text)+4)
		return e.Intermediate(text), want
	}
	got1, want1 := message(first, 1)
	got2, want2 := message(second, 2)
	i1 := IntAuth(s.PRF, first.SKpi, nil, got1)
	i2 := IntAuth(s.PRF, second.SKpi, i1, got2)
	if !bytes.Equal(i1, s.PRF.Sum(nil, first.SKpi, want1)) || !bytes.Equal(i2, s.PRF.Sum(nil, second.SKpi, i1, want2)) {
		t.Errorf("IntAuth %x, %x", i1, i2)
	}
	all := Intermediate(i2, i1, 0x01020304)
	if want := slices.Concat(i2, i1, []byte{1, 2, 3, 4}); !bytes.Equal(all, want) {
		t.Errorf("IntAuth %x, want %x", all, want)
	}
}
