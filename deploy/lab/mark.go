//go:build linux

package lab

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// markTime is how far a recorder may lag behind.
const markTime = 30 * time.Second

// catchUp returns when the recorder has written all that crossed the switch before: it sends a datagram
// from the underlay's router, and waits until that is in the file. A recorder that is told to end leaves
// unread what is still in its buffer, and does not call it dropped.
func (c *Capture) catchUp() error {
	file, err := os.Open(c.File)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer file.Close()
	mark := make([]byte, 16)
	rand.Read(mark)
	if _, err := file.Seek(0, io.SeekEnd); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	err = c.lab.within(nodeNet, func() error {
		discard := net.UDPAddr{IP: underlay(stationCtl).v4.Addr().AsSlice(), Port: 9}
		conn, err := net.DialUDP("udp4", nil, &discard)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write(mark)
		return err
	})
	if err != nil {
		return fmt.Errorf("lab: mark the capture: %w", err)
	}
	return awaitBytes(file, mark)
}

// awaitBytes reads a growing file until it has the mark.
func awaitBytes(file io.Reader, mark []byte) error {
	deadline := time.NewTimer(markTime)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var tail []byte
	for {
		news, err := io.ReadAll(file)
		if err != nil {
			return fmt.Errorf("lab: %w", err)
		}
		tail = append(tail, news...)
		if bytes.Contains(tail, mark) {
			return nil
		}
		tail = tail[max(0, len(tail)-len(mark)):] // the mark may be cut
		select {
		case <-deadline.C:
			return fmt.Errorf("lab: the recorder lags by more than %v", markTime)
		case <-tick.C:
		}
	}
}
