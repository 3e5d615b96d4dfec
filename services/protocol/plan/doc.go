// Package plan decides what a fleet's security associations should be. It is pure: hosts, policies,
// observed generations and the time go in, ordered changes come out. It keeps no clock, starts no
// goroutine and does no I/O, so that it can be simulated for thousands of hosts.
//
// A World holds what is wanted. Step holds the rules for one pair of hosts: it takes the pair's
// Situation and says what to write. A generation of a pair goes through these phases:
//
//	        both acked in      both acked out        a newer one is up
//	create ─▶ Inbound ─────▶ Outbound ─────▶ Established ─────▶ Draining
//	            │               │ a newer one is up,               │ 10 s, and no
//	            │ refused,      │ or refused and two               │ end sends
//	            │ outdated      └─ more were tried ──────────────▶ │ over it
//	            ▼                                                  ▼
//	         Deleting ◀── from anywhere: not wanted, expired, dead and replaced
//	            │ both ends acked, or are dead, or 1 h past the hard limit
//	            ▼
//	        (forgotten)
//
// Outbound may carry traffic before its acks are seen, and so may a generation of an older incarnation:
// both are left alone until there is something better.
//
// # Contract of the caller
//
// The caller feeds the world from the store's specs and calls Step for a pair whenever a change of the
// world touches it, one of its generations changes, or the deadline comes that Step returned; also when
// one of its hosts changes or leaves while the pair is not wanted but still has generations, of which the
// world knows nothing. It writes all changes of one Step in one transaction, which must compare
//
//   - its own leadership,
//   - the records of both hosts' epochs, as they were when the world learnt them,
//   - the revision of the winning policy's spec,
//   - the ModRevision of every generation that it changes or forgets, and the absence of the one that it
//     creates.
//
// A transaction that fails is dropped, and the pair stepped again once the caller has seen what had
// changed. Nothing else is needed for safety: a caller that crashes anywhere, and another that starts
// from the store alone, go on where the first one was.
//
// Who delivers keys to agents promises: the inbound half of a generation goes out in the phases Inbound
// to Draining, the outbound half in Outbound and Established only; each only to the epoch that the record
// names, and never from an older incarnation; in Draining the outbound half, in Deleting both are
// withdrawn by tombstone, outbound first, and acked (OutDeletedA and B; DeletedA and B for both halves).
// An ack counts for the epoch that sent it. A refusal sets RefusedBelow and nothing else.
//
// # Rules
//
// Make before break: a generation that carries traffic is not touched before a newer one is established
// at both ends. Inbound before outbound: no end is told to send before the other has installed. A key is
// for one epoch of each agent: a generation whose epochs are not both the present ones is dead, and only
// ever deleted. Numbers rise: the next one is above all that are stored and all that an agent refused.
// Only tombstones delete. Deletions that nobody asked for can be told apart by Explained, and are held by
// a Gate when they are many.
package plan
