//go:build sallyport_testkeys

package main

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/uplink"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// exportVariable names the file to which keys go, in binaries for tests only.
const exportVariable = "SALLYPORT_TEST_EXPORT_KEYS"

// exporter writes a line for each association that is installed, "SPI ENCRYPTION KEYMAT", so that a
// test can open captured packets with an independent implementation.
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

func (e *exporter) write(sa datapath.SA) error {
	encryption, err := transform.ByID(sa.Transform.ID, sa.Transform.KeyBits)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err = fmt.Fprintf(e.file, "0x%08x %s 0x%x\n", sa.SPI, encryption.Name, sa.Key)
	return err
}
