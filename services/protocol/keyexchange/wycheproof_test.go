package keyexchange

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
)

// hexBytes is a byte string as Wycheproof's files have it; a private key may have an odd number of digits.
type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type wycheproofCase struct {
	TcID                    int
	Comment                 string
	Public, Private, Shared hexBytes
	Seed, EK, C, K, M       hexBytes
	Result                  string
	Flags                   []string
}

func (c wycheproofCase) String() string {
	return fmt.Sprintf("case %d (%s, %s)", c.TcID, c.Comment, strings.Join(c.Flags, " "))
}

// runWycheproof runs every case of a file. test returns what kind of case it was; there must be as many of each
// kind as expected, so that none is lost unseen.
func runWycheproof(t *testing.T, name string, want map[string]int, test func(c wycheproofCase) string) {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		NumberOfTests int
		TestGroups    []struct{ Tests []wycheproofCase }
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	kinds, total := map[string]int{}, 0
	for _, g := range file.TestGroups {
		for _, c := range g.Tests {
			kinds[test(c)]++
			total++
		}
	}
	t.Logf("%s: %v", name, kinds)
	if total != file.NumberOfTests || !maps.Equal(kinds, want) {
		t.Errorf("%s: %d of %d, %v; want %v", name, total, file.NumberOfTests, kinds, want)
	}
}

const (
	agreed  = "agreed"
	refused = "refused"
	// Compressed points do not exist in IKE: RFC 5903 section 7 has both coordinates, so the length refuses them.
	otherEncoding = "encoding that is not IKE's, refused"
)

// checkAgreement expects the secret of a good value, and ErrPublic for a bad one.
func checkAgreement(t *testing.T, p *Private, c wycheproofCase, peer, want []byte, good bool) string {
	t.Helper()
	got, err := p.Finish(peer)
	if !good {
		if !errors.Is(err, ErrPublic) || got != nil {
			t.Errorf("%v: %x, %v", c, got, err)
		}
		return refused
	}
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v: %x, %v, want %x", c, got, err, want)
	}
	return agreed
}

func TestWycheproofCurves(t *testing.T) {
	for _, tt := range []struct {
		file, name string
		want       map[string]int
	}{
		{"ecdh_secp256r1_ecpoint_test.json", "ecp256", map[string]int{agreed: 330, refused: 16, otherEncoding: 9}},
		{"ecdh_secp384r1_ecpoint_test.json", "ecp384", map[string]int{agreed: 771, refused: 16, otherEncoding: 3}},
		{"ecdh_secp521r1_ecpoint_test.json", "ecp521", map[string]int{agreed: 632, refused: 16, otherEncoding: 13}},
	} {
		m, err := ByName(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		runWycheproof(t, tt.file, tt.want, func(c wycheproofCase) string {
			private := make([]byte, m.privateLen()) // the files' are integers
			copy(private[max(0, len(private)-len(c.Private)):], c.Private[max(0, len(c.Private)-len(private)):])
			p := keyOf(t, m, private)
			if len(c.Public) != 1+m.InitiatorLen || c.Public[0] != uncompressed {
				checkAgreement(t, p, c, c.Public[min(1, len(c.Public)):], nil, false)
				return otherEncoding
			}
			return checkAgreement(t, p, c, c.Public[1:], c.Shared, c.Result == "valid")
		})
	}
}

// What Wycheproof calls acceptable is what RFC 7748 says, but for the secret of zeros, which its section 6.1 lets an end refuse.
func TestWycheproofX25519(t *testing.T) {
	m, err := ByID(X25519)
	if err != nil {
		t.Fatal(err)
	}
	runWycheproof(t, "x25519_test.json", map[string]int{agreed: 487, refused: 31}, func(c wycheproofCase) string {
		zeros := !bytes.ContainsFunc(c.Shared, func(r rune) bool { return r != 0 })
		return checkAgreement(t, keyOf(t, m, c.Private), c, c.Public, c.Shared, !zeros)
	})
}

// Keys from seeds, ciphertexts of all lengths and those that must be answered with another secret.
func TestWycheproofMLKEM(t *testing.T) {
	for _, tt := range []struct {
		bits   int
		agreed int
	}{{768, 161}, {1024, 162}} {
		m, err := ByName(fmt.Sprintf("mlkem%d", tt.bits))
		if err != nil {
			t.Fatal(err)
		}
		badKey, good := 0, 0
		runWycheproof(t, fmt.Sprintf("mlkem_%d_test.json", tt.bits), map[string]int{agreed: tt.agreed, refused: 40}, func(c wycheproofCase) string {
			p, err := m.Unmarshal(append([]byte{byte(m.ID >> 8), byte(m.ID)}, c.Seed...))
			if err != nil {
				if badKey++; !errors.Is(err, ErrPrivate) || c.Result != "invalid" {
					t.Errorf("%v: %v", c, err)
				}
				return refused
			}
			if good++; c.Result == "valid" && !bytes.Equal(p.Public(), c.EK) {
				t.Errorf("%v: another encapsulation key", c)
			}
			return checkAgreement(t, p, c, c.C, c.K, c.Result == "valid")
		})
		t.Logf("%v: %d seeds refused, %d not", m, badKey, good)
		runWycheproof(t, fmt.Sprintf("mlkem_%d_keygen_seed_test.json", tt.bits), map[string]int{agreed: 100}, func(c wycheproofCase) string {
			if p := keyOf(t, m, c.Seed); !bytes.Equal(p.Public(), c.EK) {
				t.Errorf("%v: another encapsulation key", c)
			}
			return agreed
		})
	}
}

// The responder refuses every encapsulation key that is not reduced or not as long as it must be (FIPS 203 section
// 7.2). What it answers a good one is random: its own decapsulation is looked at in TestAgreement.
func TestWycheproofEncapsulation(t *testing.T) {
	for bits, want := range map[int]map[string]int{768: {agreed: 133, refused: 132}, 1024: {agreed: 133, refused: 136}} {
		m, err := ByName(fmt.Sprintf("mlkem%d", bits))
		if err != nil {
			t.Fatal(err)
		}
		runWycheproof(t, fmt.Sprintf("mlkem_%d_encaps_test.json", bits), want, func(c wycheproofCase) string {
			public, secret, err := m.Respond(zeroReader{}, c.EK)
			if err != nil {
				if !errors.Is(err, ErrPublic) || c.Result == "valid" {
					t.Errorf("%v: %v", c, err)
				}
				return refused
			}
			if c.Result != "valid" || len(public) != m.ResponderLen || len(secret) != 32 {
				t.Errorf("%v is answered", c)
			}
			return agreed
		})
	}
}
