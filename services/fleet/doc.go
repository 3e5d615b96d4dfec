// Package fleet is the controller's end of Sync: it keeps every agent in step with the store.
//
//	        world.Feed ──touched pairs──▶ stream ──Update, Remove──▶ agent
//	                                        │ ▲                        │
//	sa/key ──one Get for each delivery──────┘ └────────Ack, Nack───────┘
//	                                        │
//	        sa/phase, status/host ◀──writer─┘   one, for all streams: ≤ 128 operations a transaction
//
// A stream is admitted by a write: (epoch, stream) goes into epoch/HOST by compare-and-swap before
// anything is sent, so a controller that cannot write serves nobody, and the newest stream of an agent
// ends the older one wherever that is (DESIGN.md rules 1 and 9).
//
// What an agent should hold follows from the world and the generations of its pairs; what it holds it
// says itself, in the inventory and by acks. A stream sends the difference, pair by pair, and only for
// pairs that something touched. Absence never deletes: an association is removed by the tombstone in its
// record, a pair when nothing wants it and no generation of it is left.
//
// A key goes to the epoch that its record names, in the store's present incarnation, and to no other.
package fleet
