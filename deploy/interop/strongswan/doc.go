//go:build linux

// Package strongswan sets the controller's IKE against strongSwan: its own daemon, charon, with userspace ESP by the
// plugin kernel-libipsec.
//
//	site-1 10.50.1.2 ─ host-1 10.99.0.11 ═══════ switch ═══════ 10.99.0.12 host-2 ─ site-2 10.50.2.2
//	                     sallyport-agent           │              charon
//	                                        ctl 10.99.0.1
//	                                    sallyport-controller
//
// A scenario is a file of scenarios/: what the Peer says, what strongSwan's configuration says, and steps in words, each
// of which does something and waits for what must come of it. `make interop-strongswan` runs all and writes
// deploy/docs/interop-strongswan.md; INTEROP_STRONGSWAN='psk.*' those whose name matches.
package strongswan
