package transform

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// The table against IANA's "Transform Type 1", strongSwan's proposal keywords, RFC 4106
// section 8.1, RFC 7634 section 2 and RFC 8221 section 5.
func TestEncryptions(t *testing.T) {
	for _, tt := range []struct {
		name            string
		id, keyBits     uint16
		keymat, iv, icv int
		status          string
	}{
		{"aes128gcm16", 20, 128, 20, 8, 16, "MUST"},
		{"aes256gcm16", 20, 256, 36, 8, 16, "MUST"},
		{"chacha20poly1305", 28, 0, 36, 8, 16, "SHOULD"},
	} {
		byName, err := ByName(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		byID, err := ByID(tt.id, tt.keyBits)
		if err != nil || byID != byName {
			t.Errorf("ByID(%d, %d) = %v, %v, want %v", tt.id, tt.keyBits, byID, err, byName)
		}
		if byName.KeymatLen() != tt.keymat || byName.IVLen != tt.iv || byName.ICVLen != tt.icv ||
			byName.Status.String() != tt.status || !byName.AEAD() || byName.String() != tt.name {
			t.Errorf("%s: %+v", tt.name, byName)
		}
	}
	if n := len(Encryptions()); n != 3 {
		t.Errorf("the table has %d rows; this test knows 3", n)
	}
}

func TestTableIsSound(t *testing.T) {
	names, ids := map[string]bool{}, map[[2]uint16]bool{}
	for _, e := range Encryptions() {
		if names[e.Name] || ids[[2]uint16{e.ID, e.KeyBits}] {
			t.Errorf("%s is there twice", e)
		}
		names[e.Name], ids[[2]uint16{e.ID, e.KeyBits}] = true, true
		if e.KeyBits != 0 && int(e.KeyBits) != e.KeyLen*8 {
			t.Errorf("%s: %d key bits, %d key bytes", e, e.KeyBits, e.KeyLen)
		}
		aead, salt, err := e.NewAEAD(make(Keymat, e.KeymatLen()))
		if err != nil {
			t.Fatal(err)
		}
		if aead.Overhead() != e.ICVLen || aead.NonceSize() != e.SaltLen+e.IVLen || len(salt) != e.SaltLen {
			t.Errorf("%s: the cipher's lengths are not the row's", e)
		}
	}
	Encryptions()[0].Name = "changed"
	if _, err := ByName("changed"); err == nil {
		t.Error("a caller can change the table")
	}
}

func TestUnknown(t *testing.T) {
	for _, name := range []string{"", "3des", "null", "AES128GCM16", "aes192gcm16"} {
		if _, err := ByName(name); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "chacha20poly1305") {
			t.Errorf("ByName(%q): %v", name, err)
		}
	}
	for _, id := range [][2]uint16{{20, 0}, {20, 192}, {28, 256}, {0, 0}, {11, 0}} {
		if _, err := ByID(id[0], id[1]); !errors.Is(err, ErrUnknown) {
			t.Errorf("ByID(%d, %d): %v", id[0], id[1], err)
		}
	}
	if _, _, err := (Encryption{Name: "made-up", KeyLen: 16}).NewAEAD(make(Keymat, 16)); !errors.Is(err, ErrUnknown) {
		t.Errorf("NewAEAD of a made-up row: %v", err)
	}
}

func TestKeyLength(t *testing.T) {
	for _, e := range Encryptions() {
		for n := range 80 {
			_, _, err := e.NewAEAD(make(Keymat, n))
			if (err == nil) != (n == e.KeymatLen()) || err != nil && !errors.Is(err, ErrKeyLength) {
				t.Errorf("%s with %d bytes: %v", e, n, err)
			}
		}
	}
}

// One known answer for each row says that key and salt are split where they should be.
// Sources: the GCM specification (McGrew, Viega), test cases 4 and 16; RFC 8439 section 2.8.2.
func TestKnownAnswers(t *testing.T) {
	const gcmPlain = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
	const gcmAAD = "feedfacedeadbeeffeedfacedeadbeefabaddad2"
	for _, tt := range []struct{ name, keymat, iv, aad, plaintext, sealed string }{
		{"aes128gcm16", "feffe9928665731c6d6a8f9467308308" + "cafebabe", "facedbaddecaf888", gcmAAD, gcmPlain,
			"42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091" +
				"5bc94fbc3221a5db94fae95ae7121a47"},
		{"aes256gcm16", "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308" + "cafebabe", "facedbaddecaf888", gcmAAD, gcmPlain,
			"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662" +
				"76fc6ece0f4e1768cddf8853bb2d551b"},
		{"chacha20poly1305", "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f" + "07000000", "4041424344454647",
			"50515253c0c1c2c3c4c5c6c7",
			"4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f756c642062652069742e",
			"d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b6116" +
				"1ae10b594f09e26a7e902ecbd0600691"},
	} {
		e, err := ByName(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		aead, salt, err := e.NewAEAD(unhex(t, tt.keymat))
		if err != nil {
			t.Fatal(err)
		}
		got := aead.Seal(nil, append(salt, unhex(t, tt.iv)...), unhex(t, tt.plaintext), unhex(t, tt.aad))
		if !bytes.Equal(got, unhex(t, tt.sealed)) {
			t.Errorf("%s: sealed %x, want %s", tt.name, got, tt.sealed)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKeymatIsRedacted(t *testing.T) {
	secret := struct{ Keymat Keymat }{Keymat("secret!!")}
	var out []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
		out = append(out, fmt.Sprintf(verb, secret), fmt.Sprintf(verb, secret.Keymat))
	}
	j, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("text", "sa", secret, "keymat", secret.Keymat)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("json", "sa", secret, "keymat", secret.Keymat)
	for _, s := range append(out, string(j), log.String()) {
		if !strings.Contains(s, "[redacted]") {
			t.Errorf("%s does not say that it is redacted", s)
		}
		for _, leak := range []string{"secret!!", "7365637265", "115 101 99", "c2VjcmV0"} {
			if strings.Contains(s, leak) {
				t.Errorf("%s shows the key", s)
			}
		}
	}
}
