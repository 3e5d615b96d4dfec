package ikekeys

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// script is one file of testdata/strongswan: what a daemon logged of its keys, and the datagrams.
type script struct {
	psk, ppk []byte
	suite    Suite
	child    transform.Suite
	secrets  [][][]byte  // of exchanges with key exchanges: the first one, and what is mixed in behind the nonces
	keys     [][7][]byte // of IKE SAs: SK_d SK_ai SK_ar SK_ei SK_er SK_pi SK_pr
	children [][2][]byte // KEYMAT of Child SAs, of each direction
	messages [][]byte
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	if s == "-" {
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parseSuite(t testing.TB, protects, prf string) (s Suite) {
	t.Helper()
	pair, err := transform.ParseInsecureSuite(protects)
	if err != nil {
		t.Fatal(err)
	}
	s.Encryption, s.Integrity = pair.Encryption, pair.Integrity
	if s.PRF, err = transform.PRFByName(prf); err != nil {
		t.Fatal(err)
	}
	return s
}

func readScript(t testing.TB, file string) (s script) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch f[0] {
		case "psk":
			s.psk = unhex(t, f[1])
		case "suite":
			s.suite = parseSuite(t, f[1], f[2])
			if s.child, err = transform.ParseInsecureSuite(f[3]); err != nil {
				t.Fatal(err)
			}
		case "ppk":
			s.ppk = unhex(t, f[1])
		case "secret":
			of := [][]byte{unhex(t, f[1])}
			if len(f) > 2 {
				of = append(of, unhex(t, f[2]))
			}
			s.secrets = append(s.secrets, of)
		case "keys", "ppkkeys": // those with the PPK are SK_d, SK_pi and SK_pr alone
			var of [7][]byte
			for i := range of {
				of[i] = unhex(t, f[i+1])
			}
			s.keys = append(s.keys, of)
		case "child":
			s.children = append(s.children, [2][]byte{unhex(t, f[1]), unhex(t, f[2])})
		case "message":
			s.messages = append(s.messages, unhex(t, f[1]))
		}
	}
	return s
}
