package aesgcm

import (
	"bytes"
	"runtime/debug"
	"syscall"
	"testing"
)

// guarded is memory between two pages that nobody may touch: reading or writing beside it is a fault, which the tests
// turn into a panic.
type guarded []byte

func newGuarded(t *testing.T, size int) guarded {
	t.Helper()
	page := syscall.Getpagesize()
	size = (size + page - 1) / page * page
	all, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Munmap(all) })
	for _, guard := range [][]byte{all[:page], all[page+size:]} {
		if err := syscall.Mprotect(guard, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return all[page:][:size]
}

// place returns n bytes at the end or at the beginning.
func (g guarded) place(n int, end bool) []byte {
	if end {
		return g[len(g)-n:]
	}
	return g[:n:n]
}

// Nothing beside the slices is read or written: each of them lies at the end, and at the beginning, of its memory.
func TestNothingBesideTheSlices(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	const longest = 1500
	r := newRandom()
	in, out := newGuarded(t, longest+tagSize), newGuarded(t, longest+tagSize)
	nonces, aads := newGuarded(t, nonceSize), newGuarded(t, 200)
	text, aad := r.bytes(longest), r.bytes(200)
	for _, keyLen := range keyLens {
		aead, standard := both(t, r.bytes(keyLen))
		for n := range longest + 1 {
			aadLen := []int{0, 8, 12, n % 200}[n%4]
			want := standard.Seal(nil, text[:nonceSize], text[:n], aad[:aadLen])
			for _, end := range []bool{true, false} {
				nonce, from, more := nonces.place(nonceSize, end), in.place(n, end), aads.place(aadLen, end)
				copy(nonce, text)
				copy(from, text)
				copy(more, aad)
				if got := aead.Seal(out.place(n+tagSize, end)[:0], nonce, from, more); !bytes.Equal(got, want) {
					t.Fatalf("%d bytes, at the end %v: sealed %x, want %x", n, end, got, want)
				}
				from = in.place(n+tagSize, end)
				copy(from, want)
				opened, err := aead.Open(out.place(n, end)[:0], nonce, from, more)
				if err != nil || !bytes.Equal(opened, text[:n]) {
					t.Fatalf("%d bytes, at the end %v: opened %x, %v", n, end, opened, err)
				}
			}
		}
	}
}

// The guards work: a byte beside the memory panics.
func TestGuards(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	page := syscall.Getpagesize()
	all := newGuarded(t, page)
	touched := byte(0)
	if panics(func() { touched += all[:page][page-1] }) || !panics(func() { touched += all[:page+1][page] }) {
		t.Error("the byte behind the memory can be read")
	}
}
