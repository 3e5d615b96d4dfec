//go:build linux

package station

import "encoding/binary"

// The words that all content repeats, so that whoever listens on the link can tell what must not be read there.
const (
	// Secret marks what only encrypted packets may carry.
	Secret = "sallyport-secret"
	// Open marks what is authenticated only.
	Open = "sallyport-opened"
)

// content is n bytes: the word and a number that counts the blocks of 24 bytes, beginning with seed, over and over.
func content(n int, secret bool, seed uint64) []byte {
	word := Open
	if secret {
		word = Secret
	}
	b := make([]byte, 0, n+24)
	for len(b) < n {
		b = append(b, word...)
		b = binary.BigEndian.AppendUint64(b, seed)
		seed++
	}
	return b[:n]
}
