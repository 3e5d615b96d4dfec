package ikekeys

import (
	"encoding/binary"
	"slices"

	"sallyport.dev/sallyport/services/protocol/transform"
)

const keyPad = "Key Pad for IKEv2" // RFC 7296 section 2.15

// SignedOctets is what an end's AUTH covers, RFC 7296 section 2.15, RFC 9242 section 3.3.2:
//
//	first message | the other end's nonce | prf(SK_p, ID payload's body) | IntAuth
//
// The message is that end's own of IKE_SA_INIT, whole as it was sent; skp is that end's SK_pi or
// SK_pr; intermediate is of Intermediate, nil without such exchanges. Each end's differ in all
// parts but the last, so that one never is the other's.
func SignedOctets(prf transform.PRF, skp, firstMessage, nonce, idBody, intermediate []byte) []byte {
	b := slices.Concat(firstMessage, nonce)
	b = prf.Sum(b, skp, idBody)
	return append(b, intermediate...)
}

// SharedKeyAUTH is the AUTH value of method 2 over signed octets, RFC 7296 section 2.15: the
// secret is the pre-shared key or an EAP method's MSK. For method 13 (RFC 7619 section 2.1) and
// EAP without an MSK it is that end's SK_pi or SK_pr. It is OutputLen bytes; a verifier compares
// in constant time.
func SharedKeyAUTH(prf transform.PRF, secret, octets []byte) []byte {
	return prf.Sum(nil, prf.Sum(nil, secret, []byte(keyPad)), octets)
}

// IntAuth is IntAuth_[i/r]n of RFC 9242 section 3.3.2 for one end's message of the n-th
// IKE_INTERMEDIATE exchange: previous is that end's of the exchange before, nil for the first;
// message is ikewire's Envelope.Intermediate. skp is that end's SK_pi or SK_pr that was current
// when the exchange began: what WithAdditional makes of the exchange counts from the next on.
func IntAuth(prf transform.PRF, skp, previous, message []byte) []byte {
	return prf.Sum(nil, skp, previous, message)
}

// Intermediate is IntAuth of RFC 9242 section 3.3.2: the last IntAuth of each end and the
// message ID of the first IKE_AUTH exchange.
func Intermediate(initiator, responder []byte, authMessageID uint32) []byte {
	return binary.BigEndian.AppendUint32(slices.Concat(initiator, responder), authMessageID)
}
