package identity_test

import "crypto/rand"

// randomReader is crypto/rand's, as a value.
type randomReader struct{}

func (randomReader) Read(b []byte) (int, error) { return rand.Read(b) }
