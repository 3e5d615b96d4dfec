// Package uplink is the agent's end of the controller: enrolment, renewal and the Sync stream.
//
//	no identity ──Enroll──▶ identity ──Sync──▶ stream ──lost──▶ back off ──▶ Sync …
//	                           ▲  │                │
//	                           └──┘ Renew          └──Removed──▶ ErrRemoved
//	                        at half-life
//
// A stream begins with Hello and the inventory of what the agent holds; the controller sends the
// difference and then every change, and each Update and Remove gets one Ack or Nack. What is not
// mentioned stays as it is. With the controller away, everything stays as it is too.
//
// On disk lie the identity key, its certificate, the fleet's roots, the host's last configuration and
// the highest position seen. A traffic key never gets there.
package uplink
