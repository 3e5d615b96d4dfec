// Package enrol holds what both ends of an enrolment must agree on: the join token, the proof of its
// secret, the names in certificates and the checks of the other end's certificate. It does no I/O
// and reads no clock.
//
//	agent                                                            controller
//	  │ token = id, secret, hash of the fleet root                       │
//	  │ ───────────────────── TLS 1.3 handshake ──────────────────────▶  │
//	  │ ◀──────── chain: controller's leaf … fleet root ───────────────  │
//	  │ VerifyPinned: the root's hash is the token's, the leaf is        │
//	  │ a controller; nothing has been sent before that                  │
//	  │ ──── Enroll{id, CSR, HMAC(secret, label ‖ exporter ‖ H(CSR))} ─▶ │ VerifyProof
//	  │ ◀──────── certificate spiffe://FLEET/host/NAME, bundle ────────  │
//	  │ ═════════ mutual TLS from here on: VerifyController, ═════════   │ VerifyMember
//
// The exporter (RFC 5705, RFC 8446 section 7.5) ties the proof to one connection: a proof that a man
// in the middle saw is worth nothing on his own connection to the controller.
package enrol
