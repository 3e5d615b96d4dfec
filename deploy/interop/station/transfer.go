//go:build linux

package station

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// Port is the TCP port of a station's transfer server.
const Port = 7100

// mostTransfer bounds a transfer, bytes.
const mostTransfer = 64 << 20

// transferTimeout bounds what the server spends on one connection.
const transferTimeout = time.Minute

// Transfer is Size bytes by TCP to the other end's station, and as many back.
type Transfer struct {
	Source      netip.Addr
	Destination netip.AddrPort // the port is Port
	Size        int
	Secret      bool
	Timeout     time.Duration
}

// On the connection, numbers big-endian:
//
//	client  size 4 ‖ secret 1 ‖ size bytes
//	server  SHA-256 of those bytes 32 ‖ size other bytes
const transferHeader = 5

// The seeds of the two directions' content.
const (
	seedThere = 1 << 60
	seedBack  = 2 << 60
)

// Transfer runs one transfer. What arrives there is compared by its SHA-256, what comes back byte by byte.
func (s *Station) Transfer(t Transfer, out *Answered) error {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), t.Timeout)
	defer cancel()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(t.Source, 0))}
	conn, err := dialer.DialContext(ctx, "tcp", t.Destination.String())
	if err != nil {
		return fmt.Errorf("station: %w", err)
	}
	defer s.track(conn.(*net.TCPConn))()
	if err := conn.SetDeadline(begin.Add(t.Timeout)); err != nil {
		return fmt.Errorf("station: %w", err)
	}
	there := content(t.Size, t.Secret, seedThere)
	head := binary.BigEndian.AppendUint32(nil, uint32(t.Size))
	head = append(head, boolByte(t.Secret))
	if _, err := conn.Write(append(head, there...)); err != nil {
		return fmt.Errorf("station: transfer there: %w", err)
	}
	back := make([]byte, sha256.Size+t.Size)
	if n, err := io.ReadFull(conn, back); err != nil {
		return fmt.Errorf("station: transfer back, %d of %d bytes: %w", n, len(back), err)
	}
	if sum := sha256.Sum256(there); !bytes.Equal(sum[:], back[:sha256.Size]) {
		return errors.New("station: what arrived there is not what was sent")
	}
	if !bytes.Equal(back[sha256.Size:], content(t.Size, t.Secret, seedBack)) {
		return errors.New("station: what came back is not what was sent")
	}
	out.After = time.Since(begin)
	return nil
}

// listen starts the transfer server; it lives as long as the process.
func (s *Station) listen(port uint16) error {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(int(port)))
	if err != nil {
		return fmt.Errorf("station: %w", err)
	}
	s.port = l.Addr().(*net.TCPAddr).AddrPort().Port()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.answerTransfer(conn)
		}
	}()
	return nil
}

// track notes a connection until the returned function closes it. It is closed by a reset: then nothing of it is sent
// again, when the SAs that protected it are gone.
func (s *Station) track(conn *net.TCPConn) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transfers[conn] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.transfers, conn)
		_ = conn.SetLinger(0)
		_ = conn.Close()
	}
}

// Reset ends all transfers, also the other side's of those that have failed.
func (s *Station) Reset(_ uint16, _ *Answered) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.transfers {
		_ = conn.SetLinger(0)
		_ = conn.Close()
	}
	return nil
}

// answerTransfer is the server's end of one transfer. Any error ends the connection, which tells the client.
func (s *Station) answerTransfer(conn net.Conn) {
	defer s.track(conn.(*net.TCPConn))()
	if conn.SetDeadline(time.Now().Add(transferTimeout)) != nil {
		return
	}
	var head [transferHeader]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return
	}
	size, secret := int(binary.BigEndian.Uint32(head[:])), head[4] != 0
	if size > mostTransfer {
		return
	}
	hash := sha256.New()
	if _, err := io.CopyN(hash, conn, int64(size)); err != nil {
		return
	}
	if _, err := conn.Write(append(hash.Sum(nil), content(size, secret, seedBack)...)); err != nil {
		return
	}
	_, _ = conn.Read(head[:]) // until the client has all and ends it: a reset before would take the rest away
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
