//go:build amd64 || arm64

package aesgcm

import (
	"runtime/debug"
	"syscall"
	"testing"
)

// The longest text is 2^36 - 32 bytes, SP 800-38D section 5.2.1.1. What is longer lies in memory that would fault.
func TestTooLong(t *testing.T) {
	long, err := syscall.Mmap(-1, 0, maxPlaintext+tagSize+1, syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		t.Skipf("no address space for a message that is too long: %v", err)
	}
	defer syscall.Munmap(long)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for _, impl := range implementations {
		t.Run(impl.name, func(t *testing.T) {
			aead := impl.new(t, make([]byte, 16))
			if _, err := aead.Open(nil, make([]byte, nonceSize), long, nil); err == nil {
				t.Error("opened")
			}
			defer func() {
				if _, isText := recover().(string); !isText {
					t.Error("Seal has not refused before it read")
				}
			}()
			aead.Seal(nil, make([]byte, nonceSize), long[:maxPlaintext+1], nil)
		})
	}
}
