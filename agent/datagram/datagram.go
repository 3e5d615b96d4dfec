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

// Packet is one outer packet, or, over UDP, a run of them that lie one behind the other. Its owner reuses it for batch
// after batch.
type Packet struct {
	// Data is the packet or the run. What is sent belongs to the caller again when Send returns. What was received
	// lies in memory of the socket: it is the receiver's, to change as well, until the next Recv; what lies before and
	// behind it is not.
	Data []byte
	// Segment, if it is more than 0 and less than len(Data), says that Data is a run of datagrams of Segment bytes
	// each; only the last may be shorter. All else that is said here is said of each of them.
	Segment int
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
	// Err says, after receiving, why Data is unusable (ErrTruncated), and after sending, why the packet, or something of
	// the run, did not leave; nil when all is well. After ErrTooBig none of a run has left.
	Err error
}

// Count is how many datagrams p has: 1, but for a run.
func (p *Packet) Count() int {
	if p.Segment <= 0 || p.Segment >= len(p.Data) {
		return 1
	}
	return (len(p.Data) + p.Segment - 1) / p.Segment
}

var (
	// ErrTruncated: the packet, or what the kernel tells about it, was longer than the memory for it.
	ErrTruncated = errors.New("datagram: longer than the memory for it")
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
