//go:build linux

// Package bed makes what a measurement lies on: two namespaces joined by a veth pair, in which two ends of one
// implementation meet. Each implementation has a bed of its own, so that one's rules and routes cost the other nothing.
//
//	sp-bench-PID-N-a                                  sp-bench-PID-N-b
//	┌──────────────────────────────┐  veth   ┌──────────────────────────────┐
//	│ lo 10.98.1.1, fd98:1::1      │ wire    │ lo 10.98.2.1, fd98:2::1      │
//	│ wire 192.0.2.1, fd16::1   ═══╪═════════╪═══ wire 192.0.2.2, fd16::2   │
//	└──────────────────────────────┘         └──────────────────────────────┘
//
// As a bed of gateways it has a station behind each, sp-bench-PID-N-c and -d, which have the inner addresses instead:
// "wire" is then joined by "lan" with 10.98.1.254 and fd98:1::fe, and the gateways forward.
package bed
