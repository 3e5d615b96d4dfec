// Package datagram is what the sockets (package netio) and the packet pipeline (package datapath) hand each
// other: one outer packet, and what the network says about a path.
//
//	UDP 4500         Data is the UDP payload: ESP, IKE behind its marker, or a keepalive
//	IP 50, IP 51     Data is the whole IP datagram, its header and extension headers included
package datagram

import (
	"errors"
	"net/netip"
)

// Headroom is what a raw socket needs free at the front of Buf when it receives: the IPv6 header and the
// extension headers that it rebuilds there lie before what the kernel gives. A UDP socket leaves it free too.
const Headroom = 512

// Packet is one outer packet. Its owner reuses it, Buf and all, for batch after batch.
type Packet struct {
	// Buf is the memory to receive into; not used when sending.
	Buf []byte
	// Data is the packet: the socket sets it, to a part of Buf, when it receives.
	Data []byte
	// Remote is the other end; its port is 0 but with UDP.
	Remote netip.AddrPort
	// Local is our address. In sending by UDP the kernel chooses if it is invalid.
	Local netip.Addr
	// TOS is the outer DSCP and ECN bits. A raw packet that is sent carries it in its own header.
	TOS uint8
	// TTL is the outer time to live or hop limit as received; 0 if the kernel did not tell.
	TTL uint8
	// DF makes a UDP datagram that is sent leave whole or not at all (then Err is ErrTooBig). A raw
	// packet leaves as it is.
	DF bool
	// Err says, after receiving, why Data is unusable (ErrTruncated), and after sending, why the
	// packet did not leave; nil when all is well.
	Err error
}

var (
	// ErrTruncated: the packet was longer than its buffer.
	ErrTruncated = errors.New("datagram: longer than its buffer")
	// ErrTooBig: the packet is larger than the link or the path takes whole (EMSGSIZE).
	ErrTooBig = errors.New("datagram: larger than the path takes")
	// ErrFamily: an address is not of the socket's family.
	ErrFamily = errors.New("datagram: address of another family than the socket's")
)

// PathError is what an ICMP message says of a packet that we have sent. Anybody can forge one: RFC 4301 section 8.2
// says how far to believe it.
type PathError struct {
	// Remote is where the packet went; its port is 0 but with UDP.
	Remote netip.AddrPort
	// Local is our address in it, if known.
	Local netip.Addr
	// Offender is who sent the ICMP message.
	Offender netip.Addr
	// Type and Code are ICMP's, or ICMPv6's if Remote is IPv6.
	Type, Code uint8
	// MTU is the next hop's, in bytes, of the outer packet with its IP header; 0 if it is about something else.
	MTU int
	// Quoted is what was quoted of our packet: the UDP payload's or the raw IP payload's first bytes,
	// from the SPI (ESP) or the AH on; as many as there were. It is the receiver's until the next call.
	Quoted []byte
}
