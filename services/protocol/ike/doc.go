// Package ike is one IKEv2 association (RFC 7296) as a deterministic machine without I/O: datagrams, commands and
// time go in, actions come out.
//
//	datagram ──▶ ┌─────────┐ ──▶ Persist, InstallInbound, Send, InstallOutbound, RemoveChild, ...
//	command  ──▶ │ Machine │ ──▶ VerifyPeer, SignAUTH, ... which a command answers
//	time     ──▶ └─────────┘ ──▶ Note, Established, Closed
//
// A Machine holds the IKE SA, the IKE SAs that replace it when it is rekeyed, and all their child SAs. Nothing in it
// may run concurrently: one owner calls it, one call at a time.
//
//	Initiate ─▶ HALFOPEN ─── authenticate() ──▶ ESTABLISHED ──▶ CLOSED
//	Respond  ─▶  SA_INIT, INTERMEDIATE, AUTH      children, rekeys, deletes, DPD
//
// # The caller's contract
//
// After every call, run what Actions returns in that order, stop at the first that fails, and tell Done how many were
// run. To run Persist is to seal and store Snapshot. Every action may be run again. What Done was not told of comes
// again, also from a restored machine, which never replays a cached reply before it. An action that asks (Question) is
// run once it has been started; its command may come at any later time, and a restored machine asks again.
//
// Call HandleTimeout when Deadline has come. Closed says that the association is over; forget the machine when Gone
// says so too, since until then it repeats an answer of its that may get lost.
//
// A call that returns a *Rejection has changed nothing.
//
// Authentication happens elsewhere: VerifyPeer goes out with all that the peer claims, PeerVerified comes back with
// what it may do. Secrets are in Snapshot's bytes, in InstallInbound and InstallOutbound and in the questions; they
// print as [redacted].
package ike
