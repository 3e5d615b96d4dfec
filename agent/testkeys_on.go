//go:build sallyport_testkeys

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/uplink"
)

// exportVariable names the file to which keys go, in binaries for tests only.
const exportVariable = "SALLYPORT_TEST_EXPORT_KEYS"

// exporter writes the key of each association that is installed as a line of Wireshark's esp_sa table,
// so that a test can open captured packets with an independent implementation.
type exporter struct {
	uplink.Installer
	mu   sync.Mutex
	file *os.File
}

func exportKeys(in uplink.Installer) (uplink.Installer, error) {
	path := os.Getenv(exportVariable)
	if path == "" {
		return in, nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &exporter{Installer: in, file: file}, nil
}

func (e *exporter) InstallInbound(sa datapath.SA) error {
	return errors.Join(e.write(sa), e.Installer.InstallInbound(sa))
}

func (e *exporter) InstallOutbound(sa datapath.SA) error {
	return errors.Join(e.write(sa), e.Installer.InstallOutbound(sa))
}

// write adds a line for each outer family. Wireshark finds the association by its SPI.
func (e *exporter) write(sa datapath.SA) error {
	cipher := "AES-GCM with 16 octet ICV [RFC4106]"
	if sa.Transform.ID == 28 {
		cipher = "ChaCha20 with Poly1305 [RFC7634]"
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, family := range []string{"IPv4", "IPv6"} {
		_, err := fmt.Fprintf(e.file, "\"%s\",\"*\",\"*\",\"0x%08x\",\"%s\",\"0x%s\",\"NULL\",\"\"\n",
			family, sa.SPI, cipher, hex.EncodeToString(sa.Key))
		if err != nil {
			return err
		}
	}
	return nil
}
