package aesgcm

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
)

// implementation is one of those that New chooses from.
type implementation struct {
	name string
	make func(key []byte) (cipher.AEAD, error)
}

var implementations = []implementation{{"assembly", newAssembled}, {"standard", newStandard}}

// new skips the test if this machine does not have the implementation.
func (i implementation) new(tb testing.TB, key []byte) cipher.AEAD {
	tb.Helper()
	aead, err := i.make(key)
	if err != nil {
		tb.Fatal(err)
	}
	if aead == nil {
		tb.Skip("the CPU, or the build, has no assembly")
	}
	return aead
}

// both returns the assembly and the standard library by one key.
func both(tb testing.TB, key []byte) (assembly, standard cipher.AEAD) {
	tb.Helper()
	return implementations[0].new(tb, key), implementations[1].new(tb, key)
}

var keyLens = []int{16, 24, 32}

// random is a source of bytes that are the same in each run.
type random struct{ *rand.ChaCha8 }

func newRandom() random { return random{rand.NewChaCha8([32]byte{'a', 'e', 's', 'g', 'c', 'm'})} }

func (r random) bytes(n int) []byte {
	b := make([]byte, n)
	r.Read(b)
	return b
}

func TestNew(t *testing.T) {
	for n := range 40 {
		aead, err := New(make([]byte, n))
		if n == 16 || n == 24 || n == 32 {
			if err != nil || aead.NonceSize() != 12 || aead.Overhead() != 16 {
				t.Errorf("key of %d bytes: %v", n, err)
			}
			continue
		}
		if wrong, ok := errors.AsType[aes.KeySizeError](err); !ok || int(wrong) != n || aead != nil {
			t.Errorf("key of %d bytes: %v, %v", n, aead, err)
		}
	}
}

// New does not keep the key, which the caller may clear.
func TestKeyIsCopied(t *testing.T) {
	for _, impl := range implementations {
		t.Run(impl.name, func(t *testing.T) {
			key, nonce := newRandom().bytes(16), make([]byte, nonceSize)
			aead := impl.new(t, key)
			before := aead.Seal(nil, nonce, key, nil)
			copied := bytes.Clone(key)
			clear(key)
			if after := aead.Seal(nil, nonce, copied, nil); !bytes.Equal(before, after) {
				t.Error("the cipher has changed with the caller's key")
			}
		})
	}
}

// What dst has before is kept, and there is no allocation where it has room.
func TestAppends(t *testing.T) {
	for _, impl := range implementations {
		t.Run(impl.name, func(t *testing.T) {
			r := newRandom()
			aead := impl.new(t, r.bytes(32))
			nonce, text, aad := r.bytes(nonceSize), r.bytes(99), r.bytes(12)
			plain := aead.Seal(nil, nonce, text, aad)
			for _, room := range []int{0, 3, 200} {
				dst := append(make([]byte, 0, 3+room), "abc"...)
				sealed := aead.Seal(dst, nonce, text, aad)
				if string(sealed[:3]) != "abc" || !bytes.Equal(sealed[3:], plain) {
					t.Errorf("sealed %x", sealed)
				}
				opened, err := aead.Open(dst, nonce, plain, aad)
				if err != nil || string(opened[:3]) != "abc" || !bytes.Equal(opened[3:], text) {
					t.Errorf("opened %x, %v", opened, err)
				}
			}
			space := make([]byte, 0, 200)
			if n := testing.AllocsPerRun(100, func() {
				sealed := aead.Seal(space, nonce, text, aad)
				if _, err := aead.Open(sealed[:0], nonce, sealed, aad); err != nil {
					t.Fatal(err)
				}
				if _, err := aead.Open(space, nonce, plain, text); err == nil {
					t.Fatal("opened with other additional data")
				}
			}); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

func TestNonceLength(t *testing.T) {
	for _, impl := range implementations {
		t.Run(impl.name, func(t *testing.T) {
			aead := impl.new(t, make([]byte, 16))
			sealed := aead.Seal(nil, make([]byte, nonceSize), nil, nil)
			for n := range 17 {
				nonce := make([]byte, n)
				if got := panics(func() { aead.Seal(nil, nonce, nil, nil) }); got != (n != nonceSize) {
					t.Errorf("Seal, %d bytes: panics: %v", n, got)
				}
				if got := panics(func() { aead.Open(nil, nonce, sealed, nil) }); got != (n != nonceSize) {
					t.Errorf("Open, %d bytes: panics: %v", n, got)
				}
			}
		})
	}
}

// What Implementation says is what New does.
func TestImplementation(t *testing.T) {
	aead, err := New(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	standard, _ := newStandard(make([]byte, 16))
	library := reflect.TypeOf(aead) == reflect.TypeOf(standard)
	if says := Implementation() == "the standard library"; says != library {
		t.Errorf("%q, and New makes a %T", Implementation(), aead)
	}
}
