// Package relay holds the IKE datagrams that an agent carries between its sockets and its controller. The agent has no
// key of IKE: it looks at nothing but the header.
//
//	UDP 500  ──┐        ┌─ established: an SPI that the controller uses ─┐
//	UDP 4500 ──┴▶ Take ─┼─ begun: any other SPI of a responder           ├─▶ Next ─▶ the stream to the controller
//	  (behind marker)   └─ init: the first message of an IKE SA ─────────┘
//	UDP 500, UDP 4500 ◀──────────────────────────── Send ◀─────────────────────── the stream
//
// Queues are bounded, and what is established goes first; what is not is limited for each source address, so that a
// flood of beginnings neither fills the memory nor holds up those who are known (RFC 8019). Without a controller
// nothing is kept, and nothing answered: the peer sends it again.
package relay
