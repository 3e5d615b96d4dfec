// Package manual is the keying mode for an agent alone: policies and security associations from a file, with
// keys that an operator gives.
//
//	FILE ──Load──▶ File ──Applier──▶ rules, pairs, SAs (datapath); guard and routes (netio)
//	                         │
//	manual-sequence.json ◀───┴─ Keeper ◀── CeilingNear ── datapath
//
// Such keys outlive a process, but its counters do not. So sequence numbers are reserved on disk before they
// are used, block by block: a number that an agent ever used with a key is never used with it again, whatever
// has happened to the agent. Receiving has no such memory: after a restart an old packet may come in once more
// (RFC 4303 section 5 asks to do without anti-replay under manual keys for that reason).
package manual
