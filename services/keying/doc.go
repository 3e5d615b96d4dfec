// Package keying speaks IKE with the fleet's peers. It runs the machines of protocol/ike, one goroutine each, and brings
// what they say to its place.
//
//	agents ══RelayIKE══▶ demultiplex ─▶ association: one ike.Machine ─┬─ Persist ───▶ etcd: ike/sa, ike/state
//	                        by SPI      packets, answers, time        ├─ Install… ──▶ etcd: ike/child, ike/key ─▶ fleet
//	agents ◀═RelayIKE═══════════════════════════════════════ Send ────┤               ◀─ acks: ike/acks ◀──────── fleet
//	                                                                  └─ VerifyPeer ▶ Authenticator
//
// One controller keys at a time, and each of its writes is fenced by that leadership. Whoever follows takes the IKE SAs
// up from etcd, with a token of its own for the IVs, and nobody is authenticated anew. IKE SAs whose peer is not
// authenticated are in memory only, and bounded.
//
// An IKE SA belongs to the host whose agent relayed its first message: datagrams of others for it are dropped.
package keying
