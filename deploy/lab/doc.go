//go:build linux

// Package lab builds a small fleet on one machine: a controller and N hosts, each in a network
// namespace of its own, on a switched underlay with IPv4 and IPv6.
//
//	          ┌────────────── net: bridge br0, 10.99.0.254/24, fd99::fe/64 ──────────────┐
//	          │            │                   │                          │              │
//	ctl 10.99.0.1   host-1 10.99.0.11   host-2 10.99.0.12   …   nat-3 10.99.0.13         │
//	    fd99::1            fd99::b             fd99::c                fd99::d            │
//	                                                                      │ 192.168.3.1, fd93::1
//	                                                                host-3 192.168.3.2   │
//	                                                                       fd93::2
//
// Hosts run strict reverse path filtering and have a default route into the underlay, so that a
// packet which should have been protected and was not shows up in a capture on br0.
//
// A lab owns its namespaces (sp-NAME-…) with all that runs in them, its daemons (by pid and start time)
// and one directory, which records both. Nothing else on the machine is touched, so labs do not collide, and whatever a
// killed lab leaves is found in its directory and removed by the next start.
package lab
