//go:build !purego

package aesgcm

import (
	"crypto/cipher"
	"crypto/fips140"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const fipsChild = "SALLYPORT_AESGCM_FIPS_CHILD"

// In FIPS 140 mode, which purego excludes, and which a process has from its start, New gives what the standard library has, or the standard library's
// refusal; else the assembly, where there is one.
func TestFIPSMode(t *testing.T) {
	if os.Getenv(fipsChild) != "" {
		aead, err := New(make([]byte, 16))
		fmt.Printf("enabled %v, %T, %v\n", fips140.Enabled(), aead, err)
		return
	}
	standard, err := newStandard(make([]byte, 16))
	if err != nil {
		t.Fatal(err)
	}
	usual := cipher.AEAD(standard)
	if assembly, err := newAssembled(make([]byte, 16)); err != nil {
		t.Fatal(err)
	} else if assembly != nil {
		usual = assembly
	}
	for mode, want := range map[string]string{
		"off":  fmt.Sprintf("enabled false, %T, <nil>", usual),
		"on":   fmt.Sprintf("enabled true, %T, <nil>", standard),
		"only": "enabled true, <nil>, crypto/cipher: ",
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFIPSMode$")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140="+mode, fipsChild+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("fips140=%s: %v, %q; want %q", mode, err, out, want)
		}
	}
}
