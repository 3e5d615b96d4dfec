package aesgcm

import (
	"bytes"
	"crypto/cipher"
	"math/rand/v2"
	"testing"
)

type implementation struct {
	name string
	make func(key []byte) (cipher.AEAD, error)
}

// implementations are both that New chooses from. Tests of the one that this machine does not have are skipped.
var implementations = []implementation{{"assembly", newAssembled}, {"standard", newStandard}}

func (i implementation) new(tb testing.TB, key []byte) cipher.AEAD {
	tb.Helper()
	aead, err := i.make(key)
	if err != nil {
		tb.Fatal(err)
	}
	if aead == nil {
		tb.Skipf("no %s here", i.name)
	}
	return aead
}

// both returns the assembly and the standard library by one key.
func both(tb testing.TB, key []byte) (aead, standard cipher.AEAD) {
	tb.Helper()
	return implementations[0].new(tb, key), implementations[1].new(tb, key)
}

// random is reproducible, and good enough for keys of tests.
func random(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

func take(r *rand.ChaCha8, n int) []byte {
	b := make([]byte, n)
	r.Read(b)
	return b
}

var keyLens = []int{16, 24, 32}

func TestQuick(t *testing.T) {
	r := random(1)
	for _, kl := range keyLens {
		for n := range 1300 {
			a, s := both(t, take(r, kl))
			nonce, p, aad := take(r, 12), take(r, n), take(r, n%40)
			want := s.Seal(nil, nonce, p, aad)
			got := a.Seal(nil, nonce, p, aad)
			if !bytes.Equal(got, want) {
				t.Fatalf("%d %d:\n%x\n%x", kl, n, got, want)
			}
			o, err := a.Open(nil, nonce, want, aad)
			if err != nil || !bytes.Equal(o, p) {
				t.Fatalf("open %d %d: %v\n%x\n%x", kl, n, err, o, p)
			}
		}
	}
}
