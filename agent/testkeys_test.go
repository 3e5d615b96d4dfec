//go:build sallyport_testkeys

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/uplink"
)

// sink is an installer that takes associations.
type sink struct {
	uplink.Installer
	installed int
}

func (s *sink) InstallInbound(datapath.SA) error  { s.installed++; return nil }
func (s *sink) InstallOutbound(datapath.SA) error { s.installed++; return nil }

func TestExportKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "esp_sa")
	t.Setenv(exportVariable, path)
	inner := &sink{}
	in, err := exportKeys(inner)
	if err != nil {
		t.Fatal(err)
	}
	sa := datapath.SA{SPI: 0x1234, Transform: datapath.Transform{ID: 20, KeyBits: 128}, Key: bytes.Repeat([]byte{0xab}, 20)}
	if err := in.InstallInbound(sa); err != nil || inner.installed != 1 {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	want := "0x00001234 aes128gcm16 0x" + strings.Repeat("ab", 20) + "\n"
	if err != nil || string(text) != want {
		t.Errorf("%v\n%s", err, text)
	}
}
