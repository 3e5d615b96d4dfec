package pad_test

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/identity/pad/padtest"
	"sallyport.dev/sallyport/services/protocol/ikekeys"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// handshake is the first two exchanges of a file of services/protocol/ikekeys/testdata/strongswan, in which two
// strongSwan daemons authenticate by a pre-shared key.
type handshake struct {
	t        *testing.T
	psk      []byte
	keys     *ikekeys.Keys
	messages [4][]byte
	nonces   [2][]byte
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readHandshake(t *testing.T, name string) handshake {
	t.Helper()
	text, err := os.ReadFile("../../protocol/ikekeys/testdata/strongswan/" + name)
	if err != nil {
		t.Fatal(err)
	}
	h := handshake{t: t}
	var suite ikekeys.Suite
	var secret []byte
	n := 0
	for line := range strings.Lines(string(text)) {
		switch f := strings.Fields(line); {
		case f[0] == "psk":
			h.psk = unhex(t, f[1])
		case f[0] == "suite":
			pair, err := transform.ParseInsecureSuite(f[1])
			if err != nil {
				t.Fatal(err)
			}
			suite.Encryption, suite.Integrity = pair.Encryption, pair.Integrity
			if suite.PRF, err = transform.PRFByName(f[2]); err != nil {
				t.Fatal(err)
			}
		case f[0] == "secret" && secret == nil:
			secret = unhex(t, f[1])
		case f[0] == "message" && n < len(h.messages):
			h.messages[n] = unhex(t, f[1])
			n++
		}
	}
	h.derive(suite, secret)
	return h
}

func (h *handshake) derive(suite ikekeys.Suite, secret []byte) {
	h.t.Helper()
	var header ikewire.Header
	for i, raw := range h.messages[:2] {
		m, err := ikewire.Parse(raw)
		if err != nil {
			h.t.Fatal(err)
		}
		header = m.Header
		for _, p := range m.Payloads {
			if nonce, ok := p.(ikewire.Nonce); ok {
				h.nonces[i] = nonce.Data
			}
		}
	}
	var err error
	if h.keys, err = ikekeys.Derive(suite, h.nonces[0], h.nonces[1], secret, header.InitiatorSPI, header.ResponderSPI); err != nil {
		h.t.Fatal(err)
	}
}

// inside opens an end's IKE_AUTH message.
func (h *handshake) inside(end int) []ikewire.Payload {
	h.t.Helper()
	initiator, responder, err := h.keys.Protections(1)
	if err != nil {
		h.t.Fatal(err)
	}
	protection := []*ikekeys.Protection{initiator, responder}[end]
	m, err := ikewire.Parse(h.messages[2+end])
	if err != nil {
		h.t.Fatal(err)
	}
	e, _, err := m.Envelope(protection.Sizes())
	if err != nil {
		h.t.Fatal(err)
	}
	text, err := protection.Open(e)
	if err != nil {
		h.t.Fatal(err)
	}
	ps, err := ikewire.ParsePayloads(e.Next, text)
	if err != nil {
		h.t.Fatal(err)
	}
	return ps
}

// claim is what an end said.
func (h *handshake) claim(end int) pad.Claim {
	h.t.Helper()
	c := pad.Claim{Host: "h1", Role: pad.Initiator + pad.Role(end), PRF: h.keys.Suite.PRF, Announced: pad.Announce(), Now: padtest.Now()}
	for _, p := range h.inside(end) {
		switch p := p.(type) {
		case ikewire.IDi:
			c.Remote = p.Identification
		case ikewire.IDr:
			if c.Local = p.Identification; end == 1 {
				c.Remote, c.Local = p.Identification, ikewire.Identification{}
			}
		case ikewire.AUTH:
			c.AUTH = p
		}
	}
	skp := [][]byte{h.keys.SKpi, h.keys.SKpr}[end]
	c.SignedOctets = ikekeys.SignedOctets(c.PRF, skp, h.messages[end], h.nonces[1-end], c.Remote.Body(), nil)
	return c
}

// TestStrongSwanSharedKey: what strongSwan proves by a pre-shared key is believed, in both roles, and we prove it
// byte for byte as it does; another secret, another role and another identity are not believed.
func TestStrongSwanSharedKey(t *testing.T) {
	for _, name := range []string{"gcm16.txt", "cbc-cmac.txt", "cbc-xcbc.txt", "cbc-sha384.txt", "ctr-sha512.txt"} {
		t.Run(name, func(t *testing.T) {
			h := readHandshake(t, name)
			claims := []pad.Claim{h.claim(0), h.claim(1)}
			for end, c := range claims {
				e := entry(t, "peer", pad.FormatIdentity(c.Remote), pad.Accept{Secrets: []pad.Secret{secret(t, string(h.psk))}})
				e.Local = pad.Local{ID: claims[1-end].Remote, Credentials: []pad.Credential{{Secret: secret(t, string(h.psk))}}}
				if end == 1 {
					c.Entry = "peer"
				}
				d := database(t, pad.Config{Entries: []pad.Entry{e}})
				expect(t, d, c, 0)
				ours, err := d.Prove(pad.Proof{Entry: "peer", SignedOctets: c.SignedOctets, PRF: c.PRF})
				if err != nil || string(ours.Payload.Data) != string(c.AUTH.Data) || ours.Payload.Method != c.AUTH.Method {
					t.Errorf("we prove it by %x, %v", ours.Payload.Data, err)
				}
				reflected := c
				reflected.AUTH = claims[1-end].AUTH
				expect(t, d, reflected, pad.WrongSecret)
				reflected.Remote = claims[1-end].Remote
				if v := d.Verify(t.Context(), reflected); v.Authorised() {
					t.Error("our own words are believed")
				}
				e.Accept.Secrets = []pad.Secret{secret(t, string(h.psk)+"\n")}
				expect(t, database(t, pad.Config{Entries: []pad.Entry{e}}), c, pad.WrongSecret)
			}
		})
	}
}
