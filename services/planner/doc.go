// Package planner runs services/protocol/plan against the store: it makes, advances and deletes the
// generations of every pair that policies want.
//
//	world.Feed ──touched pairs──▶ queue ──a round──▶ plan.Step ──changes──▶ transactions ──▶ store
//	                                ▲                    │                                    │
//	                                └───── deadlines ◀───┘         (the feed shows what came of it)
//
// Every process runs a Planner, one of them leads. Leading is a hint: each transaction compares the
// leader's fencing token and all that its decisions were made from, so a planner that was deposed, or
// that looks at an old view, changes nothing. A planner keeps no state of its own that matters; what it
// needs is in the store.
//
// What a transaction compares, for each pair in it: the epoch records of both hosts, the winning policy's
// spec (or, for a pair that nobody wants, both hosts' specs), and the sa/phase record of each generation
// that it writes.
package planner
