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
//	Initiate ─▶ HALF-OPEN ─── authenticate() ──▶ ESTABLISHED ──▶ CLOSING ──▶ CLOSED
//	Respond  ─▶  IKE_SA_INIT, INTERMEDIATE, AUTH   children, rekeys, deletes, DPD     Gone
//
// # The caller's contract
//
// After every call, run what Actions returns in that order, stop at the first that fails, and tell Done how many were
// run. To run Persist is to seal and store Snapshot. Every action may be run again. What Done was not told of comes
// again, also from a restored machine, which never replays a cached reply before it. An action that asks (it has a
// QuestionID) is run once it has been started; its command may come at any later time, and a restored machine asks
// again. Before the peer is authenticated nothing is persisted.
//
// Call HandleTimeout when Deadline has come. Closed says that the association is over; forget the machine when Gone
// says so too, since until then it repeats an answer of its that may get lost.
//
// A call that returns a *Rejection has changed nothing. After an error of Config's sources the machine is to be
// restored from its last snapshot.
//
// Authentication happens elsewhere: VerifyPeer goes out with all that the peer claims, PeerVerified comes back with
// what it may do, and is the only way to be authenticated. Who the peer says it is (IDr, which need not be the one that
// was asked for) is part of the claim. Secrets are in Snapshot's bytes, in InstallInbound and InstallOutbound and in the
// questions; they print as [redacted].
//
// # Exchanges
//
// Each end has one request under way in each IKE SA; others wait. A peer that announces a larger window gets no more,
// and none is announced. Requests are repeated byte for byte until they are answered or given up; so are answers, when
// their request comes again.
//
// When exchanges of both ends cross, RFC 7296 sections 2.8 and 2.25 say what happens:
//
//	                    the peer asks to
//	we are              rekey the child   delete the child   rekey the IKE SA   delete the IKE SA
//	rekeying the child  both, then the    yes, and forget    TEMPORARY_FAILURE  yes, all ends
//	                    lower nonce goes  ours
//	deleting the child  TEMPORARY_FAILURE yes, without SPI   TEMPORARY_FAILURE  yes, all ends
//	making a child      yes               yes                TEMPORARY_FAILURE  yes, all ends
//	rekeying the IKE SA TEMPORARY_FAILURE yes                both, then the     yes, and forget ours; or it was the
//	                                                         lower nonce goes   old one that the peer has replaced
//	deleting the IKE SA TEMPORARY_FAILURE yes                TEMPORARY_FAILURE  yes, all ends
//
// What TEMPORARY_FAILURE holds up is tried again later. The responder of a child's rekeying sends with the new child
// after InboundUsed, or when the old one is deleted.
//
// Beyond RFC 7296: childless IKE SAs (6023), fragments (7383), signature hashes (7427, 9593), MOBIKE (4555), redirects
// (5685), AUTH_LIFETIME (4478), PPKs (8784), IKE_INTERMEDIATE (9242) and additional key exchanges (9370).
package ike
