package pad

import (
	"crypto/subtle"
	"strings"

	"sallyport.dev/sallyport/services/protocol/ikekeys"
)

// bySecret is method 2, RFC 7296 section 2.15.
func (d *Database) bySecret(e *entry, c Claim) (proof, *Refusal) {
	ok := d.verifySecret(e.Accept.Secrets, c)
	switch {
	case len(e.Accept.Secrets) == 0:
		return proof{}, e.notAccepted("a pre-shared key")
	case !ok:
		return proof{}, refuse(WrongSecret, "see that both sides have the same pre-shared key, byte for byte",
			"the peer's AUTH is not of the pre-shared key that is configured")
	}
	return proof{words: "pre-shared key"}, nil
}

// verifySecret computes as many MACs whatever secrets there are, dummies for those that are missing, and
// compares in constant time: an identity that is unknown and a secret that is wrong take as long.
func (d *Database) verifySecret(secrets []Secret, c Claim) bool {
	found := 0
	for i := range maxSecrets {
		secret, counts := d.dummy, 0
		if i < len(secrets) {
			secret, counts = secrets[i], 1
		}
		want := ikekeys.SharedKeyAUTH(c.PRF, secret.bytes, c.SignedOctets)
		found |= counts & subtle.ConstantTimeCompare(want, c.AUTH.Data)
	}
	return found == 1
}

// byNull is method 13, RFC 7619 section 2.1: the MAC binds the exchange and proves no identity.
func (d *Database) byNull(e *entry, c Claim) (proof, *Refusal) {
	if !e.Accept.Null {
		return proof{}, e.notAccepted("NULL authentication")
	}
	if len(c.NullKey) == 0 {
		return proof{}, refuse(Misuse, "", "a claim of NULL authentication without SK_p")
	}
	want := ikekeys.SharedKeyAUTH(c.PRF, c.NullKey, c.SignedOctets)
	if subtle.ConstantTimeCompare(want, c.AUTH.Data) != 1 {
		return proof{}, refuse(BadSignature, "", "the AUTH of NULL authentication is not of this IKE SA")
	}
	return proof{words: "none: NULL authentication"}, nil
}

func (e *entry) notAccepted(method string) *Refusal {
	accepts := strings.Join(e.Accept.methods(), " or ")
	return refuse(MethodNotAccepted, "let the peer authenticate by "+accepts+", or accept the other here",
		"the peer authenticates by %s, and %s is accepted", method, accepts)
}
