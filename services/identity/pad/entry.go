package pad

import (
	"crypto"
	"crypto/x509"

	"sallyport.dev/sallyport/services/identity/pad/revocation"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// Entry is one peer's rules.
type Entry struct {
	// Name is the operator's, unique.
	Name string
	// Hosts that serve the peer; none means every host.
	Hosts []string
	// Remote is who the peer may be.
	Remote Pattern
	// Accept is how it must prove that: one of these is enough.
	Accept Accept
	// Local is who we are to it.
	Local Local
	// Selectors are the peer's side of what it may have child SAs for.
	Selectors []spd.Selector
}

// Accept lists what counts as proof. Null goes with no other.
type Accept struct {
	// Secrets are pre-shared keys, at most 4: a new one beside an old one while both sides change. The first of
	// Local's credentials says which one we use.
	Secrets []Secret
	// Certificate accepts certificates; nil none.
	Certificate *CertificatePolicy
	// Keys are pinned: *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey, at most 8.
	Keys []crypto.PublicKey
	// IPSECKEY accepts keys that DNS has for the peer's identity, ID_FQDN or an address.
	IPSECKEY bool
	// Null accepts no proof at all (RFC 7619). Remote must be NullIdentity.
	Null bool
}

// CertificatePolicy says which certificates are accepted.
type CertificatePolicy struct {
	// Authorities by name; at least one.
	Authorities []string
	Revocation  revocation.Policy
	// TLSUsages accepts certificates whose extendedKeyUsage has serverAuth or clientAuth, and nothing for IPsec.
	TLSUsages bool
}

// Authority is a named CA that entries may trust.
type Authority struct {
	Name string
	// Certificates are the trust anchors: several while the CA's key changes.
	Certificates []*x509.Certificate
	// Intermediates are CAs below it that peers may leave out; they are not trusted by themselves.
	Intermediates []*x509.Certificate
	// CRLs of the CA and of those below it.
	CRLs []*revocation.CRL
}

// Local is our end.
type Local struct {
	ID ikewire.Identification
	// Credentials prove it, best first: the first one that the peer can verify is used.
	Credentials []Credential
}

// Credential is one of: Secret; Signer, with Chain for a certificate or without for a raw key; Null.
type Credential struct {
	Secret Secret
	Signer crypto.Signer
	// Chain is the certificate, then the CAs between, issuer by issuer. Self-signed ones are not sent.
	Chain []*x509.Certificate
	// Staple is a current OCSP response for the certificate, sent to peers that ask for it (RFC 4806).
	Staple []byte
	// Prefer orders the signature algorithms; those that are not in it are not used. nil is our order.
	Prefer []ikewire.SignatureAlgorithm
	Null   bool
}

// methods returns what the entry accepts, for people.
func (a Accept) methods() []string {
	var all []string
	for _, m := range []struct {
		accepted bool
		name     string
	}{
		{len(a.Secrets) > 0, "a pre-shared key"}, {a.Certificate != nil, "a certificate"}, {len(a.Keys) > 0, "a pinned key"},
		{a.IPSECKEY, "a key in DNS (IPSECKEY)"}, {a.Null, "NULL authentication"},
	} {
		if m.accepted {
			all = append(all, m.name)
		}
	}
	return all
}

// signatures reports whether a signature may count.
func (a Accept) signatures() bool { return a.Certificate != nil || len(a.Keys) > 0 || a.IPSECKEY }
