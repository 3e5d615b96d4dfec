//go:build !amd64 || purego

package aesgcm

import "crypto/cipher"

func supported() bool { return false }

// newAssembled returns nil: there is no assembly.
func newAssembled([]byte) (cipher.AEAD, error) { return nil, nil }
