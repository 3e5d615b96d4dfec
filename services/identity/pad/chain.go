package pad

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// chain returns the leaf's chain to one of the entry's anchors, anchor last.
func (e *entry) chain(leaf *x509.Certificate, sent []*x509.Certificate, c Claim) ([]*x509.Certificate, *Refusal) {
	if r := e.checkLeaf(leaf, c.Now); r != nil {
		return nil, r
	}
	intermediates := e.intermediates.Clone()
	for _, s := range sent {
		intermediates.AddCert(s)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: e.roots, Intermediates: intermediates, CurrentTime: c.Now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // checkUsages knows IPsec's
	})
	if err != nil {
		return nil, e.chainRefusal(leaf, err)
	}
	var refusal *Refusal
	for _, chain := range chains {
		if refusal = e.checkChain(chain); refusal == nil {
			return chain, nil
		}
	}
	return nil, refusal
}

// checkLeaf judges the peer's own certificate by itself, for words that say more than those of a whole chain.
func (e *entry) checkLeaf(leaf *x509.Certificate, now time.Time) *Refusal {
	name := leaf.Subject.String()
	switch {
	case leaf.IsCA:
		return refuse(BadCertificate, "make the peer a certificate of its own, or pin its key", "the certificate %q is a CA's", name)
	case now.Before(leaf.NotBefore):
		return refuse(CertificateNotYetValid, "check the clocks", "the certificate %q is valid from %s, and it is %s", name, stamp(leaf.NotBefore), stamp(now))
	case now.After(leaf.NotAfter):
		return refuse(ExpiredCertificate, "give the peer a new certificate", "the certificate %q has expired: it was valid until %s, and it is %s", name, stamp(leaf.NotAfter), stamp(now))
	case leaf.KeyUsage != 0 && leaf.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0:
		return refuse(BadCertificate, "give the peer a certificate whose keyUsage has digitalSignature", "the keyUsage of the certificate %q has neither digitalSignature nor nonRepudiation", name)
	}
	return e.checkUsages(leaf)
}

// checkUsages is RFC 4945 section 5.1.3.12, and what package pad says of it.
func (e *entry) checkUsages(c *x509.Certificate) *Refusal {
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) ||
		slices.ContainsFunc(c.UnknownExtKeyUsage, forIKE) {
		return nil
	}
	tls := slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	if tls && e.Accept.Certificate.TLSUsages {
		return nil
	}
	remedy := "give the peer a certificate whose extendedKeyUsage has ipsecIKE (1.3.6.1.5.5.7.3.17), or has none"
	if tls {
		remedy += ", or accept those of TLS here"
	}
	return refuse(BadCertificate, remedy, "the extendedKeyUsage of the certificate %q is not for IKE", c.Subject)
}

// forIKE: ipsecIKE, and the iKEIntermediate that CAs wrote before RFC 4945.
func forIKE(oid asn1.ObjectIdentifier) bool {
	return oid.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 17}) || oid.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 8, 2, 2})
}

// checkChain adds to the verification what Go leaves out: keys that are long enough, and usages of CAs between.
func (e *entry) checkChain(chain []*x509.Certificate) *Refusal {
	if len(chain) < 2 {
		return refuse(BadCertificate, "", "the certificate is its own authority")
	}
	for i, c := range chain {
		if err := CheckKey(c.PublicKey); err != nil {
			return refuse(WeakKey, "let the CA issue with a longer key", "certificate %q: %v", c.Subject, err)
		}
		if i > 0 && i < len(chain)-1 {
			if r := e.checkUsages(c); r != nil {
				return r
			}
		}
	}
	return nil
}

// chainRefusal says in an operator's words what x509 found.
func (e *entry) chainRefusal(leaf *x509.Certificate, err error) *Refusal {
	code, remedy := BadCertificate, "make the peer a new certificate"
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, new(x509.UnknownAuthorityError)):
		code, remedy = UntrustedCertificate, "let the peer send the CAs between, or add its CA to the peer's authorities here"
		return refuse(code, remedy, "the certificate %q of issuer %q does not lead to any of the authorities %q: %v",
			leaf.Subject, leaf.Issuer, e.Accept.Certificate.Authorities, err)
	case errors.As(err, &invalid):
		switch invalid.Reason {
		case x509.Expired:
			code, remedy = ExpiredCertificate, "renew the CA's certificate"
		case x509.TooManyIntermediates, x509.CANotAuthorizedForThisName, x509.NameConstraintsWithoutSANs, x509.UnconstrainedName:
			code, remedy = NameNotAllowed, "let another CA issue the certificate, or with other names"
		}
	}
	return refuse(code, remedy, "the certificate %q: %v", leaf.Subject, err)
}

// earliestEnd is when the first certificate of the chain expires.
func earliestEnd(chain []*x509.Certificate) time.Time {
	end := chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

func stamp(t time.Time) string { return fmt.Sprint(t.UTC().Format(time.RFC3339)) }
