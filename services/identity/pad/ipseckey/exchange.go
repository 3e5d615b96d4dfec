package ipseckey

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

const (
	udpTries   = 3
	udpWait    = 1500 * time.Millisecond
	tcpWait    = 5 * time.Second
	maxStrays  = 16 // datagrams that answer another question, for each try
	maxMessage = 0xffff
)

// ask puts one question to the server: UDP, a few times, each from a port and with an id of its own; TCP
// when the answer does not fit.
func ask(ctx context.Context, server netip.AddrPort, owner string) (reply, error) {
	var last error
	for range udpTries {
		r, err := askOnce(ctx, "udp", udpWait, server, owner)
		if err == nil && r.truncated {
			if r, err = askOnce(ctx, "tcp", tcpWait, server, owner); err == nil && r.truncated {
				err = fmt.Errorf("the answer is truncated by TCP too")
			}
		}
		if err == nil {
			return r, nil
		}
		if last = err; ctx.Err() != nil {
			break
		}
	}
	return reply{}, fmt.Errorf("resolver %s: %w", server, last)
}

func askOnce(ctx context.Context, network string, wait time.Duration, server netip.AddrPort, owner string) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	// A cancelled context ends reads and writes too.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	var raw [2]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return reply{}, err
	}
	id := binary.BigEndian.Uint16(raw[:])
	query, err := question(id, owner)
	if err != nil {
		return reply{}, err
	}
	if network == "tcp" {
		return byTCP(conn, id, owner, query)
	}
	return byUDP(conn, id, owner, query)
}

func byUDP(conn net.Conn, id uint16, owner string, query []byte) (reply, error) {
	if _, err := conn.Write(query); err != nil {
		return reply{}, err
	}
	buf := make([]byte, maxMessage)
	for range maxStrays {
		n, err := conn.Read(buf)
		if err != nil {
			return reply{}, err
		}
		if r, err := parseReply(id, owner, buf[:n]); !errors.Is(err, errStray) {
			return r, err
		}
	}
	return reply{}, errStray
}

// byTCP: RFC 1035 section 4.2.2, two bytes of length before the message.
func byTCP(conn net.Conn, id uint16, owner string, query []byte) (reply, error) {
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return reply{}, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return reply{}, err
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, message); err != nil {
		return reply{}, err
	}
	return parseReply(id, owner, message)
}
