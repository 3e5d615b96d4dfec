package transform

import (
	"bytes"
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
)

// hexBytes is a byte string as Wycheproof's files have it.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type wycheproofFile struct {
	NumberOfTests int
	TestGroups    []wycheproofGroup
}

type wycheproofGroup struct {
	KeySize, IVSize, TagSize int // in bits
	Tests                    []wycheproofCase
}

type wycheproofCase struct {
	TcID                              int
	Comment                           string
	Key, IV, Nonce, AAD, Msg, CT, Tag hexBytes
	Result                            string
	Flags                             []string
}

// runWycheproof runs every case of a file. test returns why a case is skipped, "" if it was run. The cases
// run and skipped must be as many as expected, so that none is lost unseen.
func runWycheproof(t *testing.T, name string, wantRun int, wantSkipped map[string]int, test func(g wycheproofGroup, c wycheproofCase) string) {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	var file wycheproofFile
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	run, skipped := 0, map[string]int{}
	for _, g := range file.TestGroups {
		for _, c := range g.Tests {
			if why := test(g, c); why != "" {
				skipped[why]++
			} else {
				run++
			}
		}
	}
	t.Logf("%s: %d run, skipped %v", name, run, skipped)
	total := run
	for _, why := range slices.Sorted(maps.Keys(skipped)) {
		total += skipped[why]
	}
	if total != file.NumberOfTests || run != wantRun || !maps.Equal(skipped, wantSkipped) {
		t.Errorf("%s: %d of %d run, skipped %v; want %d, %v", name, run, file.NumberOfTests, skipped, wantRun, wantSkipped)
	}
}

func (c wycheproofCase) String() string {
	return fmt.Sprintf("case %d (%s, %s)", c.TcID, c.Comment, strings.Join(c.Flags, " "))
}

// checkWycheproofAEAD expects that a valid case seals to its ciphertext and opens, that an invalid one does
// not open.
func checkWycheproofAEAD(t *testing.T, aead cipher.AEAD, c wycheproofCase) {
	t.Helper()
	sealed := slices.Concat(c.CT, c.Tag)
	plaintext, err := aead.Open(nil, c.IV, sealed, c.AAD)
	if c.Result == "invalid" {
		if err == nil {
			t.Errorf("%v was opened", c)
		}
		return
	}
	if err != nil || !bytes.Equal(plaintext, c.Msg) {
		t.Errorf("%v: opened %x, %v", c, plaintext, err)
	}
	if got := aead.Seal(nil, c.IV, c.Msg, c.AAD); !bytes.Equal(got, sealed) {
		t.Errorf("%v: sealed %x, want %x", c, got, sealed)
	}
}

const otherNonce = "nonce length that ESP does not use"

func TestWycheproofGCM(t *testing.T) {
	for _, tagLen := range []int{16, 12, 8} {
		runWycheproof(t, "aes_gcm_test.json", 197, map[string]int{otherNonce: 119}, func(g wycheproofGroup, c wycheproofCase) string {
			if g.IVSize != 96 {
				return otherNonce
			}
			aead, err := newGCM(c.Key, tagLen)
			if err != nil {
				t.Fatalf("%v: %v", c, err)
			}
			// A tag that is wrong only behind the truncation is a good short tag.
			whole, err := newGCM(c.Key, gcmStandardTag)
			if err != nil {
				t.Fatal(err)
			}
			if c.Result == "invalid" {
				right := whole.Seal(nil, c.IV, c.Msg, c.AAD)
				if bytes.Equal(right[:len(c.CT)+tagLen], slices.Concat(c.CT, c.Tag[:tagLen])) {
					c.Result = "valid"
				}
			}
			c.Tag = c.Tag[:tagLen]
			checkWycheproofAEAD(t, aead, c)
			return ""
		})
	}
}

func TestWycheproofGMAC(t *testing.T) {
	runWycheproof(t, "aes_gmac_test.json", 207, map[string]int{otherNonce: 207}, func(g wycheproofGroup, c wycheproofCase) string {
		if g.IVSize != 96 {
			return otherNonce
		}
		aead, err := newGMAC(c.Key)
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		for cut := range len(c.Msg) + 1 { // additional data, then what ESP sends
			sealed := slices.Concat(c.Msg[cut:], c.Tag)
			got, err := aead.Open(nil, c.IV, sealed, c.Msg[:cut])
			if (err == nil) != (c.Result == "valid") || err == nil && !bytes.Equal(got, c.Msg[cut:]) {
				t.Errorf("%v, cut at %d: %x, %v", c, cut, got, err)
			}
			if c.Result == "valid" && !bytes.Equal(aead.Seal(nil, c.IV, c.Msg[cut:], c.Msg[:cut]), sealed) {
				t.Errorf("%v, cut at %d: sealed otherwise", c, cut)
			}
		}
		return ""
	})
}

// AUTH_AES_*_GMAC of AH, in one piece and in two.
func TestWycheproofGMACHash(t *testing.T) {
	rows := map[int]string{16: "aes128gmac", 24: "aes192gmac", 32: "aes256gmac"}
	runWycheproof(t, "aes_gmac_test.json", 207, map[string]int{otherNonce: 207}, func(g wycheproofGroup, c wycheproofCase) string {
		if g.IVSize != 96 {
			return otherNonce
		}
		i, err := IntegrityByName(rows[len(c.Key)])
		if err != nil {
			t.Fatal(err)
		}
		mac, err := i.NewMAC(slices.Concat(Keymat(c.Key), Keymat(c.IV[:i.SaltLen])))
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		for cut := range len(c.Msg) + 1 {
			mac.ResetIV(c.IV[i.SaltLen:])
			mac.Write(c.Msg[:cut])
			mac.Write(c.Msg[cut:])
			if valid := c.Result == "valid"; mac.Verify(c.Tag) != valid || bytes.Equal(mac.AppendICV(nil), c.Tag) != valid {
				t.Errorf("%v, cut at %d: Verify says %v", c, cut, !valid)
			}
		}
		return ""
	})
}

const (
	badNonce = "nonce length that CCM does not have"
	badTag   = "tag length that CCM does not have, or too short for Wycheproof: ESP has 8 bytes and more"
)

// CCM runs with every nonce that it has, not only ESP's.
func TestWycheproofCCM(t *testing.T) {
	runWycheproof(t, "aes_ccm_test.json", 486, map[string]int{badNonce: 39, badTag: 27}, func(g wycheproofGroup, c wycheproofCase) string {
		if g.IVSize < 56 || g.IVSize > 104 {
			return badNonce
		}
		if g.TagSize%16 != 0 || g.TagSize < 32 || slices.Contains(c.Flags, "InsecureTagSize") {
			return badTag
		}
		aead, err := newCCM(c.Key, g.IVSize/8, g.TagSize/8)
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		checkWycheproofAEAD(t, aead, c)
		return ""
	})
}

func TestWycheproofChaCha20Poly1305(t *testing.T) {
	runWycheproof(t, "chacha20_poly1305_test.json", 316, map[string]int{otherNonce: 9}, func(g wycheproofGroup, c wycheproofCase) string {
		if g.IVSize != 96 {
			return otherNonce
		}
		e, err := ByName("chacha20poly1305")
		if err != nil {
			t.Fatal(err)
		}
		aead, salt, err := e.NewAEAD(slices.Concat(Keymat(c.Key), Keymat(c.IV[:4])))
		if err != nil || !bytes.Equal(salt, c.IV[:4]) {
			t.Fatalf("%v: %v", c, err)
		}
		checkWycheproofAEAD(t, aead, c)
		return ""
	})
}

func TestWycheproofMACs(t *testing.T) {
	for _, tt := range []struct {
		file, name string
		run        int
	}{
		{"aes_cmac_test.json", "aescmac", 311},
		{"hmac_sha1_test.json", "sha1", 170},
		{"hmac_sha256_test.json", "sha256", 174},
		{"hmac_sha384_test.json", "sha384", 174},
		{"hmac_sha512_test.json", "sha512", 174},
	} {
		i, err := IntegrityByName(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		runWycheproof(t, tt.file, tt.run, nil, func(g wycheproofGroup, c wycheproofCase) string {
			h, err := i.newHash(c.Key)
			if err != nil {
				if c.Result != "invalid" {
					t.Errorf("%s: %v: %v", tt.file, c, err)
				}
				return ""
			}
			h.Write(c.Msg)
			if got := h.Sum(nil)[:g.TagSize/8]; bytes.Equal(got, c.Tag) != (c.Result == "valid") {
				t.Errorf("%s: %v: %x, the file has %x", tt.file, c, got, c.Tag)
			}
			if i.KeyLen == len(c.Key) && i.ICVLen <= len(c.Tag) {
				checkWycheproofICV(t, i, c)
			}
			return ""
		})
	}
}

// checkWycheproofICV asks the MAC that ESP uses: the ICV is the tag's beginning, right if the tag is or if
// the tag is wrong only behind it.
func checkWycheproofICV(t *testing.T, i Integrity, c wycheproofCase) {
	t.Helper()
	mac, err := i.NewMAC(Keymat(c.Key))
	if err != nil {
		t.Fatal(err)
	}
	mac.Write(c.Msg)
	icv := c.Tag[:i.ICVLen]
	if want := bytes.Equal(mac.AppendICV(nil), icv); mac.Verify(icv) != want || c.Result == "valid" && !want {
		t.Errorf("%v: Verify says %v", c, !want)
	}
}

const badPadding = "padding or length that PKCS #5 forbids: ESP pads otherwise and verifies the ICV first"

// ESP pads by itself: PKCS #5 padding is put on and looked at here, and what Wycheproof has of bad padding
// without a MAC does not apply.
func TestWycheproofCBC(t *testing.T) {
	runWycheproof(t, "aes_cbc_pkcs5_test.json", 72, map[string]int{badPadding: 144}, func(g wycheproofGroup, c wycheproofCase) string {
		if c.Result != "valid" {
			return badPadding
		}
		e, err := ByID(EncrAESCBC, uint16(g.KeySize))
		if err != nil {
			t.Fatal(err)
		}
		cipher, err := e.NewCipher(Keymat(c.Key))
		if err != nil {
			t.Fatal(err)
		}
		pad := 16 - len(c.Msg)%16
		padded := slices.Concat(c.Msg, bytes.Repeat([]byte{byte(pad)}, pad))
		body := bytes.Clone(padded)
		cipher.Encrypt(body, c.IV)
		if !bytes.Equal(body, c.CT) {
			t.Errorf("%v: encrypted %x, want %x", c, body, c.CT)
		}
		cipher.Decrypt(body, c.IV)
		if !bytes.Equal(body, padded) {
			t.Errorf("%v: decrypted %x", c, body)
		}
		return ""
	})
}
