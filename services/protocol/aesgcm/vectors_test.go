package aesgcm

import (
	"bytes"
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
)

// vector is a message that must open to text, or not at all, and that text must seal to.
type vector struct {
	key, nonce, aad, text, sealed []byte
	valid                         bool
}

func (v vector) check(t *testing.T, aead cipher.AEAD) {
	t.Helper()
	got, err := aead.Open(nil, v.nonce, v.sealed, v.aad)
	if (err == nil) != v.valid || v.valid && !bytes.Equal(got, v.text) {
		t.Errorf("key %x, nonce %x: opened to %x, %v", v.key, v.nonce, got, err)
	}
	if !v.valid {
		return
	}
	if got := aead.Seal(nil, v.nonce, v.text, v.aad); !bytes.Equal(got, v.sealed) {
		t.Errorf("key %x, nonce %x: sealed to %x", v.key, v.nonce, got)
	}
}

// run checks vectors by both implementations, and that there are as many as there should be.
func run(t *testing.T, vectors []vector, valid, forged int) {
	t.Helper()
	n := 0
	for _, v := range vectors {
		if v.valid {
			n++
		}
	}
	if n != valid || len(vectors)-n != forged {
		t.Errorf("%d vectors, %d of them forged; want %d and %d", len(vectors), len(vectors)-n, valid+forged, forged)
	}
	for _, impl := range implementations {
		t.Run(impl.name, func(t *testing.T) {
			for _, v := range vectors {
				v.check(t, impl.new(t, v.key))
			}
		})
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// NIST CAVP's, in the file of package transform, which says how they were selected.
func TestNIST(t *testing.T) {
	text, err := os.ReadFile("../transform/testdata/nist-gcm.txt")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	for line := range strings.Lines(string(text)) {
		columns := strings.Fields(line) // tag's length, key, nonce, additional data, text, sealed
		if len(columns) == 0 || columns[0] != "16" {
			continue
		}
		v := vector{valid: columns[4] != "FAIL"}
		for i, to := range []*[]byte{&v.key, &v.nonce, &v.aad, &v.text, &v.sealed} {
			if column := columns[i+1]; column != "-" && column != "FAIL" {
				*to = unhex(t, column)
			}
		}
		vectors = append(vectors, v)
	}
	run(t, vectors, 33, 33)
}

// Project Wycheproof's, of those with a nonce of 12 bytes.
func TestWycheproof(t *testing.T) {
	text, err := fs.ReadFile(wycheproof.TestVectors, "aes_gcm_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TestGroups []struct {
			Tests []struct{ Key, IV, AAD, Msg, CT, Tag, Result string }
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	for _, g := range file.TestGroups {
		for _, c := range g.Tests {
			if len(c.IV) == 2*nonceSize {
				sealed := slices.Concat(unhex(t, c.CT), unhex(t, c.Tag))
				vectors = append(vectors, vector{unhex(t, c.Key), unhex(t, c.IV), unhex(t, c.AAD), unhex(t, c.Msg), sealed, c.Result == "valid"})
			}
		}
	}
	run(t, vectors, 116, 81)
}
