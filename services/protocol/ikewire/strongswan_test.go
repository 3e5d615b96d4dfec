package ikewire

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"os"
	"strings"
	"testing"
)

// gcmSizes are those of AES-GCM with a 16-byte ICV, RFC 5282.
var gcmSizes = Sizes{IV: 8, Block: 1, ICV: 16}

// captured is one datagram of the transcript; a message in fragments has several.
type captured struct {
	raw    []byte
	plain  bool        // no SK
	first  PayloadType // of the payloads inside
	inside []byte      // decrypted, without padding; of all fragments with the last one
	whole  bool        // inside is the whole message
}

type capture struct {
	messages []captured
}

// transcript reads testdata/strongswan.txt and decrypts it by this package's framing.
func transcript(t testing.TB) capture {
	t.Helper()
	text, err := os.ReadFile("testdata/strongswan.txt")
	if err != nil {
		t.Fatal(err)
	}
	var c capture
	keys := map[string][2][]byte{}
	parts := map[IKESPI]*Reassembly{}
	for line := range strings.Lines(string(text)) {
		switch f := strings.Fields(line); f[0] {
		case "key":
			keys[f[1]+f[2]] = [2][]byte{unhex(t, f[3]), unhex(t, f[4])}
		case "message":
			c.messages = append(c.messages, decrypt(t, unhex(t, f[1]), keys, parts))
		}
	}
	return c
}

func decrypt(t testing.TB, raw []byte, keys map[string][2][]byte, parts map[IKESPI]*Reassembly) captured {
	t.Helper()
	m, err := Parse(raw)
	if err != nil {
		t.Fatalf("%x: %v", raw, err)
	}
	e, sealed, err := m.Envelope(gcmSizes)
	if err != nil {
		t.Fatal(err)
	}
	if !sealed {
		return captured{raw: raw, plain: true, first: FirstType(m.Payloads), inside: raw[HeaderLen:], whole: true}
	}
	pair := keys[m.Header.InitiatorSPI.String()+m.Header.ResponderSPI.String()]
	key := pair[1]
	if m.Header.Flags.Initiator() {
		key = pair[0]
	}
	text, err := gcm(t, key).Open(nil, append(bytes.Clone(key[16:]), e.IV...), e.Text[:len(e.Text)+len(e.ICV)], e.AAD)
	if err != nil {
		t.Fatalf("%s %d: %v", m.Header.Exchange, m.Header.MessageID, err)
	}
	if text, err = TrimPadding(text); err != nil {
		t.Fatal(err)
	}
	if e.Total == 0 {
		return captured{raw: raw, first: e.Next, inside: text, whole: true}
	}
	from := m.Header.InitiatorSPI
	from[0] ^= uint8(m.Header.Flags) // one reassembly for each direction
	if parts[from] == nil {
		parts[from] = &Reassembly{}
	}
	inside, first, whole, err := parts[from].Add(e, text)
	if err != nil {
		t.Fatal(err)
	}
	return captured{raw: raw, first: first, inside: inside, whole: whole}
}

func gcm(t testing.TB, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key[:16])
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

// TestStrongSwan: what strongSwan sent is decrypted by our framing, holds what its log
// says, is written again byte for byte, and no prefix of it is accepted.
func TestStrongSwan(t *testing.T) {
	want := []string{
		"SA KE Nonce NAT_DETECTION_SOURCE_IP NAT_DETECTION_DESTINATION_IP IKEV2_FRAGMENTATION_SUPPORTED SIGNATURE_HASH_ALGORITHMS REDIRECT_SUPPORTED",
		"SA KE Nonce NAT_DETECTION_SOURCE_IP NAT_DETECTION_DESTINATION_IP CERTREQ IKEV2_FRAGMENTATION_SUPPORTED SIGNATURE_HASH_ALGORITHMS CHILDLESS_IKEV2_SUPPORTED MULTIPLE_AUTH_SUPPORTED",
		"IDi CERT INITIAL_CONTACT CERTREQ IDr AUTH CP SA TSi TSr MOBIKE_SUPPORTED NO_ADDITIONAL_ADDRESSES MULTIPLE_AUTH_SUPPORTED EAP_ONLY_AUTHENTICATION IKEV2_MESSAGE_ID_SYNC_SUPPORTED",
		"IDr CERT AUTH CP SA TSi TSr MOBIKE_SUPPORTED NO_ADDITIONAL_ADDRESSES",
		"REKEY_SA SA Nonce KE TSi TSr",
		"SA Nonce KE TSi TSr",
		"D", "D",
		"NO_ADDITIONAL_ADDRESSES", "", "NO_ADDITIONAL_ADDRESSES", "",
		"SA Nonce KE", "SA Nonce KE",
		"D", "",
		"D", "",
	}
	i := 0
	for _, m := range transcript(t).messages {
		checkPrefixes(t, "captured", m.raw)
		parsed, err := Parse(m.raw)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parsed.Append(nil); err != nil || !bytes.Equal(again, m.raw) {
			t.Errorf("message gives %x, %v\nwant          %x", again, err, m.raw)
		}
		if !m.whole {
			continue
		}
		ps, err := ParsePayloads(m.first, m.inside)
		if err != nil {
			t.Fatal(err)
		}
		if i >= len(want) || names(t, ps) != want[i] {
			t.Errorf("message %d holds %s", i, names(t, ps))
		}
		if again, err := AppendPayloads(nil, ps); err != nil || !bytes.Equal(again, m.inside) {
			t.Errorf("payloads give %x, %v\nwant          %x", again, err, m.inside)
		}
		i++
	}
	if i != len(want) {
		t.Errorf("%d messages, want %d", i, len(want))
	}
}

// names lists payloads in strongSwan's way, and reads all data on the way.
func names(t *testing.T, ps []Payload) string {
	t.Helper()
	var all []string
	for _, p := range ps {
		name := p.PayloadType().String()
		switch p := p.(type) {
		case Notify:
			name = p.Type.String()
			if err := p.CheckData(); err != nil {
				t.Error(err)
			}
		case AUTH:
			der, _, err := p.DigitalSignature()
			if err != nil {
				t.Fatal(err)
			}
			if a, err := ParseSignatureAlgorithm(der); err != nil || a != SignECDSASHA256 {
				t.Errorf("AUTH by %s, %v", a, err)
			}
		}
		all = append(all, name)
	}
	return strings.Join(all, " ")
}
