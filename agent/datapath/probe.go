package datapath

import "bytes"

// A probe asks the other end whether it can be reached at an address. It is the payload of an ESP dummy
// packet (next header 59): RFC 4303 section 2.6 has receivers discard those without a look, so a
// foreign end never answers and is not disturbed.
//
//	 0              8        9                       25
//	┌──────────────┬────────┬───────────────────────┐
//	│ "SallyPrb"   │ kind   │ nonce, 16 bytes       │
//	└──────────────┴────────┴───────────────────────┘
//
// The answer carries the nonce of the request. Only who holds the SA can read one and send the other.
const (
	probeMagic = "SallyPrb"
	probeLen   = len(probeMagic) + 1 + len(nonce{})
)

type nonce [16]byte

type probeKind uint8

const (
	probeRequest probeKind = 1
	probeAnswer  probeKind = 2
)

// appendProbe appends a probe to b.
func appendProbe(b []byte, kind probeKind, n nonce) []byte {
	b = append(b, probeMagic...)
	b = append(b, byte(kind))
	return append(b, n[:]...)
}

// parseProbe reads a dummy packet's payload; most dummies are no probes.
func parseProbe(b []byte) (probeKind, nonce, bool) {
	if len(b) != probeLen || !bytes.HasPrefix(b, []byte(probeMagic)) {
		return 0, nonce{}, false
	}
	kind := probeKind(b[len(probeMagic)])
	if kind != probeRequest && kind != probeAnswer {
		return 0, nonce{}, false
	}
	return kind, nonce(b[len(probeMagic)+1:]), true
}
