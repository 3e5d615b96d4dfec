//go:build linux

// Package interop sets our agent against IPsec stacks that nobody here wrote.
//
// # The Linux kernel
//
// A real agent, with SAs by keying mode manual, and Debian's stock kernel, with the same SAs by `ip xfrm`:
//
//	namespace sp-ik-PID-N                                    guest (package kernelpeer)
//	┌───────────────────────────────────────────┐            ┌──────────────────────────────────────┐
//	│ station ── TUN ── sallyport-agent ── tap0 ═╪════════════╪═ eth0 ── kernel: XFRM ── station      │
//	│  lo: inner addresses, ours      │         │ virtio-net │      lo: inner addresses, theirs     │
//	│                         the wire's reader │            │                                      │
//	└───────────────────────────────────────────┘            └──────────────────────────────────────┘
//
// A case is one pair of SAs with its own addresses, so a hundred are installed at once. For each, both ends send
// echoes, small, nearly as large as the link, and so large that they are fragmented; one end sends a file by TCP and
// gets one back. Then the kernel's counters must have grown and its errors be zero, and the wire's reader must
// have seen the case's SPIs under the case's protocol and nothing in clear.
//
// Matrix has all cases; Pairwise chooses few of them that together have every pair of properties. `make test`
// runs the few, `make interop-kernel` all, and writes deploy/docs/interop-kernel.md. With INTEROP_KERNEL_BOTH=1
// the guest's kernel is at both ends, in two namespaces: what fails then is not the agent's fault. With
// INTEROP_KERNEL_CASES='esp tunnel, IPv6.*sha512' the cases that match are run.
package interop
