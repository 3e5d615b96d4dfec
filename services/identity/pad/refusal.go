package pad

import "fmt"

// Code says what a claim failed by.
type Code uint8

// Codes.
const (
	BadIdentity          Code = iota + 1 // the ID payload is not well-formed, or of a type that is not used
	UnknownIdentity                      // no entry has it
	AmbiguousIdentity                    // two entries differ only by our own ID, and the peer names none
	OtherLocalIdentity                   // the peer asks for an identity that we do not have to it
	OtherEntry                           // we called one entry, another answered
	OwnIdentity                          // the peer says that it is us
	MethodNotAccepted                    // the entry does not accept the authentication method
	MethodUnknown                        // nobody accepts it
	WrongSecret                          // the MAC is of another secret
	BadAlgorithm                         // the AlgorithmIdentifier is unknown, or SHA-1
	HashNotAnnounced                     // the hash is not one that we said we take
	WrongKeyType                         // method or algorithm and key do not belong together
	WeakKey                              // too short
	BadSignature                         // it does not verify
	NoCertificate                        // the peer sent none that can be used
	TooManyCertificates                  // or too long
	BadCertificate                       // it cannot be read, or may not be used for IKE
	UntrustedCertificate                 // no chain to an authority of the entry
	ExpiredCertificate
	CertificateNotYetValid
	NameNotAllowed // a name constraint or path length
	WrongName      // the identity is not in the certificate
	RevokedCertificate
	RevocationUnknown
	KeyNotPinned // none of the entry's keys verifies
	NoKeyInDNS
	InsecureDNS
	DNSFailed
	OtherGateway // the record is for another gateway
	Misuse       // the caller gave a claim that makes no sense
)

// Refusal is why a peer is not who it says, for the operator. Nothing of it is for the peer.
type Refusal struct {
	Code   Code
	Entry  string // that the claim was judged by, "" when none was found
	Reason string // what is wrong, with the value
	Remedy string // what to change, and on which side
}

// Error returns entry, reason and remedy.
func (r *Refusal) Error() string {
	s := r.Reason
	if r.Entry != "" {
		s = fmt.Sprintf("peer %s: %s", r.Entry, s)
	}
	if r.Remedy != "" {
		s += "; " + r.Remedy
	}
	return s
}

func refuse(code Code, remedy, reason string, args ...any) *Refusal {
	return &Refusal{Code: code, Reason: fmt.Sprintf(reason, args...), Remedy: remedy}
}

// String returns the code's name, lower case.
func (c Code) String() string {
	names := [...]string{
		"", "bad identity", "unknown identity", "ambiguous identity", "other local identity", "other entry", "own identity",
		"method not accepted", "method unknown", "wrong secret", "bad algorithm", "hash not announced", "wrong key type",
		"weak key", "bad signature", "no certificate", "too many certificates", "bad certificate", "untrusted certificate",
		"expired certificate", "certificate not yet valid", "name not allowed", "wrong name", "revoked certificate",
		"revocation unknown", "key not pinned", "no key in DNS", "insecure DNS", "DNS failed", "other gateway", "misuse",
	}
	if c == 0 || int(c) >= len(names) {
		return fmt.Sprintf("code %d", uint8(c))
	}
	return names[c]
}
