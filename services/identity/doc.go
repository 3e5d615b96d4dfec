// Package identity is the PAD (RFC 4301 section 4.4.3): who may be whom, proven how. It keeps the
// fleet's CA, exchanges join tokens for certificates, renews them, and says who makes a call.
//
//	identity/ca/N            a root; its private key is sealed; one of them is active
//	identity/host/NAME       the public key that NAME has: a certificate counts while its key is here
//	identity/operator/NAME   the same for operators, with their role
//	identity/token/ID        the secret of a join token, sealed
//
// A certificate proves nothing by itself: its key must be the recorded one. To revoke a host or an
// operator is to delete the record or to replace its key. Every transaction compares what it was
// decided from: the root that signs, the token and its uses, the record that it replaces.
//
// The CA rotates in three steps, each safe to repeat:
//
//	PREPARE    a new root joins the bundle; the active one cross-signs it, so that a host which was
//	           away and knows the old root only can still verify a controller of the new one
//	ACTIVATE   the new root signs from now on
//	FINISH     the old root leaves the bundle, when nobody holds a certificate of it any more
package identity
