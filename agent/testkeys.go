//go:build sallyport_testkeys

package main

import (
	"fmt"
	"os"

	"sallyport.dev/sallyport/agent/datapath"
)

// exportKey appends an association's key to the file that SALLYPORT_TEST_EXPORT_KEYS names: SPI,
// transform, key length, ESN, and key with salt in hexadecimal. Builds for users do not have it.
func exportKey(sa datapath.SA) {
	path := os.Getenv("SALLYPORT_TEST_EXPORT_KEYS")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err) // the test would prove nothing
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%08x %d %d %t %x\n", sa.SPI, sa.Transform.ID, sa.Transform.KeyBits, sa.ESN, sa.Key); err != nil {
		panic(err)
	}
}
