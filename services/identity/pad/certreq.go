package pad

import (
	"crypto"
	"crypto/x509"
	"slices"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// CertRequests are the CERTREQ payloads for a peer: of the entry that we call, or with entry "" of all that the
// host serves, since a responder does not know yet who calls. They ask for certificates under the authorities, for
// raw keys where some are pinned, and for OCSP in band (RFC 4806; no list: any responder).
func (d *Database) CertRequests(host, entry string) []ikewire.CERTREQ {
	var authorities []ikewire.KeyHash
	certificates, raw := false, false
	for _, e := range d.entries {
		if entry != "" && e.Name != entry || !e.serves(host) {
			continue
		}
		raw = raw || len(e.Accept.Keys) > 0
		certificates = certificates || e.Accept.Certificate != nil
		for _, a := range e.anchors {
			if h := ikewire.HashKey(a.RawSubjectPublicKeyInfo); !slices.Contains(authorities, h) {
				authorities = append(authorities, h)
			}
		}
	}
	var all []ikewire.CERTREQ
	if certificates {
		all = append(all, ikewire.NewCERTREQ(ikewire.CertX509Signature, authorities), ikewire.NewCERTREQ(ikewire.CertOCSPContent, nil))
	}
	if raw {
		all = append(all, ikewire.NewCERTREQ(ikewire.CertRawPublicKey, nil))
	}
	return all
}

// asksFor reports whether the certificate is an authority that the peer asks for.
func (p Proof) asksFor(c *x509.Certificate) bool {
	hash := ikewire.HashKey(c.RawSubjectPublicKeyInfo)
	for _, r := range p.Requests {
		if r.Encoding != ikewire.CertX509Signature {
			continue
		}
		if names, err := r.Authorities(); err == nil && slices.Contains(names, hash) {
			return true
		}
	}
	return false
}

func publicKeyInfo(key crypto.PublicKey) ([]byte, error) { return x509.MarshalPKIXPublicKey(key) }

// Announce are the hashes for our SIGNATURE_HASH_ALGORITHMS: all that we verify (RFC 7427, RFC 8420).
func Announce() []ikewire.HashAlgorithm {
	return []ikewire.HashAlgorithm{ikewire.HashSHA256, ikewire.HashSHA384, ikewire.HashSHA512, ikewire.HashIdentity}
}
