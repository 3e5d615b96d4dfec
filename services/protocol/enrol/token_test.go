package enrol_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/enrol"
)

func testToken() enrol.Token {
	var id [10]byte
	var secret enrol.Secret
	var root [32]byte
	for i := range id {
		id[i] = byte(i)
	}
	for i := range secret {
		secret[i] = byte(0xa0 + i)
	}
	for i := range root {
		root[i] = byte(0x40 + i)
	}
	return enrol.NewToken(id, secret, root)
}

const testTokenText = "sp1.aaaqeayeaudaocaj.ucq2fi5euwtkpkfjvkv2zlnov4.ibaueq2eivdeoscjjjfuytkoj5ifcustkrkvmv2ylfnfwxc5lzpq.h7l5z4gq"

func TestTokenRoundTrip(t *testing.T) {
	want := testToken()
	text := want.Reveal()
	if text != testTokenText {
		t.Errorf("the form of tokens changed: %s", text)
	}
	for _, in := range []string{text, "  " + text + "\r\n"} {
		got, err := enrol.ParseToken(in)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("got %x, want %x", got.RootHash, want.RootHash)
		}
	}
	if !enrol.ValidTokenID(want.ID) {
		t.Errorf("id %q is not valid", want.ID)
	}
}

func TestTokenEveryPrefixFails(t *testing.T) {
	text := testToken().Reveal()
	for n := range len(text) {
		want := enrol.ErrTokenTruncated
		if n == 0 {
			want = enrol.ErrTokenPrefix
		}
		if _, err := enrol.ParseToken(text[:n]); !errors.Is(err, want) {
			t.Errorf("the first %d characters: %v, want %v", n, err, want)
		}
	}
}

func TestTokenEveryTypingErrorIsFound(t *testing.T) {
	text := testToken().Reveal()
	for i := range len(text) {
		for _, c := range "a7.X0" {
			wrong := text[:i] + string(c) + text[i+1:]
			if wrong == text {
				continue
			}
			if _, err := enrol.ParseToken(wrong); err == nil {
				t.Errorf("%q for %q at %d was accepted", c, text[i], i)
			}
		}
	}
}

func TestTokenErrors(t *testing.T) {
	text := testToken().Reveal()
	other := enrol.NewToken([10]byte{1}, enrol.Secret{2}, [32]byte{3}).Reveal()
	cases := []struct {
		name, in string
		want     error
	}{
		{"empty", "", enrol.ErrTokenPrefix},
		{"blank", " \n", enrol.ErrTokenPrefix},
		{"something else", "hello", enrol.ErrTokenPrefix},
		{"other version", "sp2" + text[3:], enrol.ErrTokenPrefix},
		{"too long", text + "a", enrol.ErrTokenMalformed},
		{"pasted twice", text + text, enrol.ErrTokenMalformed},
		{"upper case", strings.ToUpper(text), enrol.ErrTokenPrefix},
		{"space inside", text[:30] + " " + text[31:], enrol.ErrTokenMalformed},
		{"two letters swapped", swap(text, 25), enrol.ErrTokenChecksum},
		{"halves of two tokens", text[:50] + other[50:], enrol.ErrTokenChecksum},
		{"huge", "sp1." + strings.Repeat("a", 1<<20), enrol.ErrTokenMalformed},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := enrol.ParseToken(c.in)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func swap(s string, i int) string {
	return s[:i] + s[i+1:i+2] + s[i:i+1] + s[i+2:]
}

func TestTokenHidesItsSecret(t *testing.T) {
	token := testToken()
	secret := strings.Split(token.Reveal(), ".")[2]
	var logged strings.Builder
	log := slog.New(slog.NewTextHandler(&logged, nil))
	log.Info("x", "token", token, "secret", token.Secret)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "token", token, "secret", token.Secret, "both", struct{ T enrol.Token }{token})
	asJSON, err := json.Marshal(map[string]any{"token": token, "secret": token.Secret, "pointer": &token})
	if err != nil {
		t.Fatal(err)
	}
	shown := logged.String() + string(asJSON) + fmt.Sprint(token, token.Secret, &token)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%d", "%q"} {
		shown += fmt.Sprintf(verb+verb+verb, token, token.Secret, struct{ T enrol.Token }{token})
	}
	for _, leak := range []string{secret, "a0a1a2a3", "A0A1A2A3", "160 161", "160, 161", "0xa0"} {
		if strings.Contains(shown, leak) {
			t.Errorf("%q shows in %s", leak, shown)
		}
	}
	if !strings.Contains(shown, token.ID) {
		t.Error("the id is hidden too")
	}
}

func TestValidTokenID(t *testing.T) {
	for _, id := range []string{"", "a", "aaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaa1", "AAAAAAAAAAAAAAAA", "aaaaaaaaaaaaaaa/"} {
		if enrol.ValidTokenID(id) {
			t.Errorf("%q is valid", id)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(testToken().Reveal())
	f.Add(testTokenText)
	f.Add("sp1.")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := enrol.ParseToken(text)
		if err != nil {
			if token != (enrol.Token{}) {
				t.Error("an error came with a token")
			}
			return
		}
		if token.Reveal() != strings.TrimSpace(text) {
			t.Errorf("%q is read as %q", text, token.Reveal())
		}
	})
}
