package ike

import (
	"slices"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/keyexchange"
	"sallyport.dev/sallyport/services/protocol/transform"
)

func esp(groups ...[]ikewire.Transform) Proposal { return proposal(ikewire.ProtocolESP, groups...) }

func encrs(ts ...ikewire.Transform) []ikewire.Transform { return ts }

func TestChoose(t *testing.T) {
	gcm, gcm128 := encr(transform.EncrAESGCM16, 256), encr(transform.EncrAESGCM16, 128)
	cbc := encr(transform.EncrAESCBC, 256)
	sha256 := plain(ikewire.TransformINTEG, transform.IntegHMACSHA2_256_128)
	none := plain(ikewire.TransformINTEG, 0)
	sn := func(ids ...uint16) []ikewire.Transform { return plain(ikewire.TransformSN, ids...) }
	ke := func(ids ...uint16) []ikewire.Transform { return plain(ikewire.TransformKE, ids...) }
	for _, c := range []struct {
		name         string
		ours, theirs []Proposal
		want         string // the answer; empty: none
	}{
		{"ours first", []Proposal{esp(encrs(gcm, gcm128))}, []Proposal{esp(encrs(gcm128, gcm))}, "ESP: ENCR_AES_GCM_16 256"},
		{"our first proposal that fits", []Proposal{esp(encrs(cbc), sha256), esp(encrs(gcm))}, []Proposal{esp(encrs(gcm)), esp(encrs(cbc), sha256)},
			"ESP: ENCR_AES_CBC 256, AUTH_HMAC_SHA2_256_128"},
		{"key length differs", []Proposal{esp(encrs(gcm))}, []Proposal{esp(encrs(gcm128))}, ""},
		{"INTEG NONE is said", []Proposal{esp(encrs(gcm))}, []Proposal{esp(encrs(gcm), none)}, "ESP: ENCR_AES_GCM_16 256, INTEG NONE"},
		{"AEAD and integrity", []Proposal{esp(encrs(gcm))}, []Proposal{esp(encrs(gcm), sha256)}, ""},
		{"AEAD and CBC in one proposal", []Proposal{esp(encrs(gcm, cbc), sha256)}, []Proposal{esp(encrs(gcm, cbc), sha256)},
			"ESP: ENCR_AES_CBC 256, AUTH_HMAC_SHA2_256_128"},
		{"no integrity", []Proposal{esp(encrs(cbc), sha256)}, []Proposal{esp(encrs(cbc))}, ""},
		{"ESN is preferred", []Proposal{esp(encrs(gcm), sn(1, 0))}, []Proposal{esp(encrs(gcm), sn(0, 1))}, "ESP: ENCR_AES_GCM_16 256, ESN"},
		{"ESN is not offered", []Proposal{esp(encrs(gcm), sn(1))}, []Proposal{esp(encrs(gcm), sn(0))}, ""},
		{"SN is left out", []Proposal{esp(encrs(gcm), sn(0))}, []Proposal{esp(encrs(gcm))}, "ESP: ENCR_AES_GCM_16 256"},
		{"key exchange is missing", []Proposal{esp(encrs(gcm), ke(keyexchange.X25519))}, []Proposal{esp(encrs(gcm))}, ""},
		{"key exchange is optional here", []Proposal{esp(encrs(gcm), ke(keyexchange.X25519, 0))}, []Proposal{esp(encrs(gcm))}, "ESP: ENCR_AES_GCM_16 256"},
		{"key exchange is not wanted", []Proposal{esp(encrs(gcm))}, []Proposal{esp(encrs(gcm), ke(keyexchange.X25519))}, ""},
		{"unknown transform type", []Proposal{esp(encrs(gcm))}, []Proposal{esp(encrs(gcm), plain(ikewire.TransformKWA, 1))}, ""},
		{"unknown attribute", []Proposal{esp(encrs(gcm))}, []Proposal{esp(encrs(ikewire.Transform{Type: ikewire.TransformENCR,
			ID: transform.EncrAESGCM16, Attributes: []ikewire.Attribute{{Type: 99, Value: []byte{1, 0}}}}))}, ""},
		{"additional methods differ", []Proposal{esp(encrs(gcm), ke(keyexchange.X25519),
			plain(ikewire.TransformADDKE1, keyexchange.P256, keyexchange.P384), plain(ikewire.TransformADDKE2, keyexchange.P256))},
			[]Proposal{esp(encrs(gcm), ke(keyexchange.X25519), plain(ikewire.TransformADDKE1, keyexchange.P256, keyexchange.P384),
				plain(ikewire.TransformADDKE2, keyexchange.P256))},
			"ESP: ENCR_AES_GCM_16 256, KE Curve25519, ADDKE1 P-384, ADDKE2 P-256"},
		{"additional method is the first one", []Proposal{esp(encrs(gcm), ke(keyexchange.X25519), plain(ikewire.TransformADDKE1, keyexchange.X25519))},
			[]Proposal{esp(encrs(gcm), ke(keyexchange.X25519), plain(ikewire.TransformADDKE1, keyexchange.X25519))}, ""},
		{"other protocol", []Proposal{esp(encrs(gcm))}, []Proposal{proposal(ikewire.ProtocolAH, sha256)}, ""},
		{"IKE without a PRF", []Proposal{proposal(ikewire.ProtocolIKE, encrs(gcm), ke(31))}, []Proposal{proposal(ikewire.ProtocolIKE, encrs(gcm), ke(31))}, ""},
	} {
		offered := offerOf(c.theirs, spiBytes(0x1000))
		got, ok := choose(c.ours, offered)
		if ok != (c.want != "") {
			t.Errorf("%s: %v, %v", c.name, got, ok)
			continue
		}
		if !ok {
			continue
		}
		if s := proposalStrings([]ikewire.Proposal{got.Answer}); s[0] != c.want {
			t.Errorf("%s: chose %s, want %s", c.name, s[0], c.want)
		}
		back, _, ok := accept(offered, ikewire.SA{Proposals: []ikewire.Proposal{got.Answer}})
		if !ok || back.Encryption != got.Encryption || back.Integrity != got.Integrity || back.ESN != got.ESN || !slices.Equal(back.Additional, got.Additional) {
			t.Errorf("%s: the initiator does not accept the answer, or reads %v", c.name, back)
		}
	}
}

// TestAcceptRefuses answers that no honest responder gives.
func TestAcceptRefuses(t *testing.T) {
	offered := offerOf([]Proposal{espProposal(keyexchange.X25519), esp(encrs(encr(transform.EncrAESCBC, 128)), plain(ikewire.TransformINTEG, 12))}, spiBytes(0x1000))
	good := ikewire.Proposal{Number: 1, Protocol: ikewire.ProtocolESP, SPI: spiBytes(0x2000), Transforms: offered[0].Transforms}
	if _, _, ok := accept(offered, ikewire.SA{Proposals: []ikewire.Proposal{good}}); !ok {
		t.Fatal("the good answer is refused")
	}
	changed := func(f func(p *ikewire.Proposal)) []ikewire.Proposal {
		p := good
		p.Transforms = slices.Clone(p.Transforms)
		f(&p)
		return []ikewire.Proposal{p}
	}
	for name, answer := range map[string][]ikewire.Proposal{
		"none":             nil,
		"two":              {good, good},
		"another number":   changed(func(p *ikewire.Proposal) { p.Number = 3 }),
		"of another":       changed(func(p *ikewire.Proposal) { p.Number = 2 }),
		"another protocol": changed(func(p *ikewire.Proposal) { p.Protocol = ikewire.ProtocolAH }),
		"weaker key":       changed(func(p *ikewire.Proposal) { p.Transforms[0] = encr(transform.EncrAESGCM16, 128) }),
		"no key exchange":  changed(func(p *ikewire.Proposal) { p.Transforms = dropKE(p.Transforms) }),
		"two ciphers":      changed(func(p *ikewire.Proposal) { p.Transforms = append(p.Transforms, p.Transforms[0]) }),
		"nothing":          changed(func(p *ikewire.Proposal) { p.Transforms = nil }),
	} {
		if c, _, ok := accept(offered, ikewire.SA{Proposals: answer}); ok {
			t.Errorf("%s: accepted as %v", name, c)
		}
	}
}
