package transform

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// What the RFCs say of a family: RFC 4106 sections 4, 6 and 8.1, 4309 sections 3 and 7.1, 4543 sections 3
// and 5.4, 7634 section 2, 3602 sections 2 and 3, 3686 section 3, 2410, 2451. IDs are IANA's, names strongSwan's.
func TestEncryptions(t *testing.T) {
	type family struct {
		format                    string
		id                        uint16
		bits                      []uint16
		salt, iv, icv, block, rfc int
		confidential, random      bool
	}
	aes := []uint16{128, 192, 256}
	known := 0
	for _, f := range []family{
		{"aes%dgcm16", 20, aes, 4, 8, 16, 4, 4106, true, false},
		{"aes%dgcm12", 19, aes, 4, 8, 12, 4, 4106, true, false},
		{"aes%dgcm8", 18, aes, 4, 8, 8, 4, 4106, true, false},
		{"aes%dccm16", 16, aes, 3, 8, 16, 4, 4309, true, false},
		{"aes%dccm12", 15, aes, 3, 8, 12, 4, 4309, true, false},
		{"aes%dccm8", 14, aes, 3, 8, 8, 4, 4309, true, false},
		{"aes%dgmac", 21, aes, 4, 8, 16, 4, 4543, false, false},
		{"aes%dctr", 13, aes, 4, 8, 0, 4, 3686, true, false},
		{"aes%d", 12, aes, 0, 16, 0, 16, 3602, true, true},
		{"chacha20poly1305", 28, nil, 4, 8, 16, 4, 7634, true, false},
		{"null", 11, nil, 0, 0, 0, 4, 2410, false, false},
		{"3des", 3, nil, 0, 8, 0, 8, 2451, true, true},
	} {
		rows := f.bits
		if rows == nil {
			rows = []uint16{0}
		}
		for _, bits := range rows {
			known++
			name, key := f.format, map[string]int{"chacha20poly1305": 32, "3des": 24}[f.format]
			if bits != 0 {
				name, key = fmt.Sprintf(f.format, bits), int(bits/8)
			}
			e, err := InsecureByName(name)
			if err != nil {
				t.Error(err)
				continue
			}
			if byID, err := InsecureByID(f.id, bits); err != nil || byID != e {
				t.Errorf("InsecureByID(%d, %d) = %v, %v, want %v", f.id, bits, byID, err, name)
			}
			if e.KeyLen != key || e.SaltLen != f.salt || e.KeymatLen() != key+f.salt || e.IVLen != f.iv || e.ICVLen != f.icv ||
				e.Block != f.block || int(e.RFC) != f.rfc || e.AEAD() != (f.icv > 0) || e.Confidential() != f.confidential ||
				e.UnpredictableIV() != f.random || e.String() != name {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
	if n := len(encryptions); n != known {
		t.Errorf("the table has %d rows; this test knows %d", n, known)
	}
	if n := len(Encryptions()); n != known-1 {
		t.Errorf("Encryptions has %d rows, want all but 3DES", n)
	}
}

// RFC 8221 section 5 and RFC 8247 section 2.1; what neither lists is MAY, but for IKE what encrypts nothing.
func TestEncryptionStatus(t *testing.T) {
	listed := map[string][2]string{
		"aes128gcm16": {"MUST", "SHOULD"}, "aes256gcm16": {"MUST", "SHOULD"},
		"chacha20poly1305": {"SHOULD", "SHOULD"}, "aes128ccm8": {"SHOULD", "SHOULD"},
		"aes128": {"MUST", "MUST"}, "aes256": {"MUST", "MUST"},
		"null": {"MUST", "MUST NOT"}, "3des": {"SHOULD NOT", "MAY"},
		"aes128gmac": {"MAY", "MUST NOT"}, "aes192gmac": {"MAY", "MUST NOT"}, "aes256gmac": {"MAY", "MUST NOT"},
	}
	for _, e := range encryptions {
		want, ok := listed[e.Name]
		if !ok {
			want = [2]string{"MAY", "MAY"}
		}
		if e.Status.String() != want[0] || e.IKE.String() != want[1] {
			t.Errorf("%s: %v, for IKE %v, want %v", e, e.Status, e.IKE, want)
		}
	}
}

// RFC 4868 section 2, 2404, 3566, 4494, 7693; RFC 8221 section 6 and RFC 8247 section 2.3.
func TestIntegrities(t *testing.T) {
	known := 0
	for _, tt := range []struct {
		name          string
		id            uint16
		key, icv, rfc int
		status, ike   string
	}{
		{"sha256", 12, 32, 16, 4868, "MUST", "MUST"},
		{"sha384", 13, 48, 24, 4868, "MAY", "MAY"},
		{"sha512", 14, 64, 32, 4868, "SHOULD", "SHOULD"},
		{"sha1", 2, 20, 12, 2404, "MUST-", "MUST-"},
		{"aesxcbc", 5, 16, 12, 3566, "MAY", "SHOULD"},
		{"aescmac", 8, 16, 12, 4494, "MAY", "MAY"},
		{"blake2s128", 1717, 32, 16, 7693, "MAY", "MAY"},
	} {
		known++
		i, err := IntegrityByName(tt.name)
		if err != nil {
			t.Error(err)
			continue
		}
		if byID, err := IntegrityByID(tt.id); err != nil || byID != i {
			t.Errorf("IntegrityByID(%d) = %v, %v", tt.id, byID, err)
		}
		if i.KeyLen != tt.key || i.ICVLen != tt.icv || int(i.RFC) != tt.rfc || i.Status.String() != tt.status ||
			i.IKE.String() != tt.ike || i.String() != tt.name || i.None() || i.Private() != (tt.name == "blake2s128") {
			t.Errorf("%s: %+v", tt.name, i)
		}
	}
	if n := len(Integrities()); n != known {
		t.Errorf("the table has %d rows; this test knows %d", n, known)
	}
	if none, err := IntegrityByID(0); err != nil || !none.None() || none.String() != "none" {
		t.Errorf("IntegrityByID(0) = %v, %v", none, err)
	}
}

// RFC 4543 sections 4 and 5.4; RFC 8221 section 6. ESP cannot have them, with any cipher or none.
func TestAHIntegrities(t *testing.T) {
	if n := len(AHIntegrities()); n != len(Integrities())+3 {
		t.Errorf("AH has %d integrity algorithms", n)
	}
	for name, want := range map[string]struct {
		id  uint16
		key int
	}{"aes128gmac": {9, 16}, "aes192gmac": {10, 24}, "aes256gmac": {11, 32}} {
		i, err := IntegrityByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if byID, err := IntegrityByID(want.id); err != nil || byID != i {
			t.Errorf("IntegrityByID(%d) = %v, %v", want.id, byID, err)
		}
		if i.KeyLen != want.key || i.KeymatLen() != want.key+4 || i.IVLen != 8 || i.ICVLen != 16 || i.AHLen() != 24 || i.RFC != 4543 ||
			i.Status != May || i.IKE != MustNot || !i.AHOnly() || i.None() || i.Private() || i.String() != name {
			t.Errorf("%s: %+v", name, i)
		}
		if !slices.Contains(AHIntegrities(), i) || slices.Contains(Integrities(), i) {
			t.Errorf("%s is in the wrong list", name)
		}
		for _, e := range encryptions {
			if err := (Suite{Encryption: e, Integrity: i}).Check(); !errors.Is(err, ErrAHOnly) {
				t.Errorf("%v with %v: %v", e, i, err)
			}
			if _, err := ParseInsecureSuite(e.Name + "-" + name); !errors.Is(err, ErrAHOnly) {
				t.Errorf("%v-%v: %v", e, i, err)
			}
		}
		if err := (Suite{Integrity: i}).Check(); err == nil {
			t.Errorf("%v without a cipher is a suite", i)
		}
	}
	for _, i := range Integrities() {
		if !slices.Contains(AHIntegrities(), i) || i.AHOnly() || i.KeymatLen() != i.KeyLen || i.AHLen() != i.ICVLen {
			t.Errorf("%s: %+v", i, i)
		}
	}
	AHIntegrities()[0].Name = "changed"
	if _, err := IntegrityByName("changed"); err == nil {
		t.Error("a caller can change the table")
	}
}

func TestTableIsSound(t *testing.T) {
	names, ids := map[string]bool{}, map[[2]uint16]bool{}
	for _, e := range encryptions {
		if names[e.Name] || ids[[2]uint16{e.ID, e.KeyBits}] || strings.Contains(e.Name, "-") {
			t.Errorf("%s is there twice, or no suite can name it", e)
		}
		names[e.Name], ids[[2]uint16{e.ID, e.KeyBits}] = true, true
		if e.KeyBits != 0 && int(e.KeyBits) != e.KeyLen*8 {
			t.Errorf("%s: %d key bits, %d key bytes", e, e.KeyBits, e.KeyLen)
		}
		_, err := e.NewCipher(make(Keymat, e.KeymatLen()))
		if (err == nil) == e.AEAD() || err != nil && !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: NewCipher: %v", e, err)
		}
		aead, salt, err := e.NewAEAD(make(Keymat, e.KeymatLen()))
		if !e.AEAD() {
			if !errors.Is(err, ErrUnknown) {
				t.Errorf("%s: NewAEAD: %v", e, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if aead.Overhead() != e.ICVLen || aead.NonceSize() != e.SaltLen+e.IVLen || len(salt) != e.SaltLen {
			t.Errorf("%s: the cipher's lengths are not the row's", e)
		}
	}
	for _, i := range Integrities() {
		mac, err := i.NewMAC(make(Keymat, i.KeyLen))
		if err != nil {
			t.Fatal(err)
		}
		if mac.Len() != i.ICVLen || len(mac.AppendICV(nil)) != i.ICVLen || i.ICVLen%4 != 0 {
			t.Errorf("%s: the MAC's length is not the row's", i)
		}
	}
	Encryptions()[0].Name, Integrities()[0].Name = "changed", "changed"
	if _, err := ByName("changed"); err == nil {
		t.Error("a caller can change the table")
	}
	if _, err := IntegrityByName("changed"); err == nil {
		t.Error("a caller can change the table of integrities")
	}
}

func TestUnknown(t *testing.T) {
	for _, name := range []string{"", "AES128GCM16", "aes512", "aes", "aes128gcm16 ", "cast128"} {
		if _, err := ByName(name); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "chacha20poly1305") || strings.Contains(err.Error(), "3des") {
			t.Errorf("ByName(%q): %v", name, err)
		}
		if _, err := IntegrityByName(name); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "sha256") {
			t.Errorf("IntegrityByName(%q): %v", name, err)
		}
	}
	for _, id := range [][2]uint16{{20, 0}, {20, 512}, {28, 256}, {0, 0}, {11, 128}, {17, 128}, {12, 0}} {
		if _, err := InsecureByID(id[0], id[1]); !errors.Is(err, ErrUnknown) {
			t.Errorf("InsecureByID(%d, %d): %v", id[0], id[1], err)
		}
	}
	if _, err := IntegrityByID(PrivateUse); !errors.Is(err, ErrUnknown) {
		t.Errorf("IntegrityByID(%d): %v", PrivateUse, err)
	}
	made := Encryption{Name: "made-up", KeyLen: 16}
	if _, _, err := made.NewAEAD(make(Keymat, 16)); !errors.Is(err, ErrUnknown) {
		t.Errorf("NewAEAD of a made-up row: %v", err)
	}
	if _, err := made.NewCipher(make(Keymat, 16)); !errors.Is(err, ErrUnknown) {
		t.Errorf("NewCipher of a made-up row: %v", err)
	}
	if _, err := (Integrity{}).NewMAC(nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("NewMAC of NONE: %v", err)
	}
}

// What MUST NOT be used cannot be had in any way, and the answer says so.
func TestForbidden(t *testing.T) {
	for _, name := range []string{"des", "des-iv64", "blowfish256", "3idea"} {
		if _, err := InsecureByName(name); !errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), "MUST NOT") {
			t.Errorf("InsecureByName(%q): %v", name, err)
		}
	}
	for _, id := range []uint16{1, 2, 7, 8, 9} {
		if _, err := InsecureByID(id, 0); !errors.Is(err, ErrForbidden) {
			t.Errorf("InsecureByID(%d, 0): %v", id, err)
		}
	}
	for name, id := range map[string]uint16{"md5": 1, "desmac": 3, "kpdkmd5": 4, "md5_128": 6} {
		if _, err := IntegrityByName(name); !errors.Is(err, ErrForbidden) {
			t.Errorf("IntegrityByName(%q): %v", name, err)
		}
		if _, err := IntegrityByID(id); !errors.Is(err, ErrForbidden) {
			t.Errorf("IntegrityByID(%d): %v", id, err)
		}
	}
}

// 3DES comes only to who says "insecure".
func TestInsecure(t *testing.T) {
	if _, err := ByName("3des"); !errors.Is(err, ErrInsecure) || !strings.Contains(err.Error(), "SHOULD NOT") {
		t.Errorf("ByName: %v", err)
	}
	if _, err := ByID(Encr3DES, 0); !errors.Is(err, ErrInsecure) {
		t.Errorf("ByID: %v", err)
	}
	if _, err := ParseSuite("3des-sha1"); !errors.Is(err, ErrInsecure) {
		t.Errorf("ParseSuite: %v", err)
	}
	if s, err := ParseInsecureSuite("3des-sha1"); err != nil || s.KeymatLen() != 24+20 {
		t.Errorf("ParseInsecureSuite: %v, %v", s, err)
	}
}

func TestKeyLength(t *testing.T) {
	for n := range 80 {
		key := make(Keymat, n)
		for _, e := range encryptions {
			var err error
			if e.AEAD() {
				_, _, err = e.NewAEAD(key)
			} else {
				_, err = e.NewCipher(key)
			}
			if (err == nil) != (n == e.KeymatLen()) || err != nil && !errors.Is(err, ErrKeyLength) {
				t.Errorf("%s with %d bytes: %v", e, n, err)
			}
		}
		for _, i := range integrities {
			if _, err := i.NewMAC(key); (err == nil) != (n == i.KeymatLen()) || err != nil && !errors.Is(err, ErrKeyLength) {
				t.Errorf("%s with %d bytes: %v", i, n, err)
			}
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
