package revocation

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// CRL is a parsed certificate revocation list. Whether it is to be believed is seen when it is used.
type CRL struct {
	list    *x509.RevocationList // without its entries
	entries map[string]struct{}  // serial numbers
	scope   scope
}

// ParseCRL reads the DER of a CRL (RFC 5280 section 5) of at most 8 MiB. It refuses delta and indirect CRLs,
// those for some reasons only, and all with critical extensions that it does not know.
func ParseCRL(der []byte) (*CRL, error) {
	if len(der) > maxCRLBytes {
		return nil, fmt.Errorf("CRL of %d bytes, at most %d are read", len(der), maxCRLBytes)
	}
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, err
	}
	if len(list.Raw) != len(der) {
		return nil, errors.New("CRL with bytes behind it")
	}
	c := &CRL{list: list, entries: make(map[string]struct{}, len(list.RevokedCertificateEntries))}
	if c.scope, err = readScope(list); err != nil {
		return nil, err
	}
	for _, e := range list.RevokedCertificateEntries {
		for _, ext := range e.Extensions {
			if ext.Critical {
				return nil, fmt.Errorf("CRL entry with the critical extension %s", ext.Id)
			}
		}
		c.entries[e.SerialNumber.String()] = struct{}{}
	}
	list.RevokedCertificateEntries, list.Raw = nil, nil
	return c, nil
}

// from reports whether the issuer's name is the CRL's.
func (c *CRL) from(issuer *x509.Certificate) bool {
	return bytes.Equal(c.list.RawIssuer, issuer.RawSubject)
}

// NextUpdate is when a newer CRL will be there; zero when the CRL does not say.
func (c *CRL) NextUpdate() time.Time { return c.list.NextUpdate }

// status says what the CRL knows of the certificate. It verifies the CRL by the issuer's key.
func (c *CRL) status(cert, issuer *x509.Certificate, now time.Time) (status, error) {
	if !c.from(issuer) {
		return unknown, errors.New("it is another CA's")
	}
	if err := c.list.CheckSignatureFrom(issuer); err != nil {
		return unknown, err
	}
	if now.Add(clockSkew).Before(c.list.ThisUpdate) {
		return unknown, fmt.Errorf("it is from the future: %s", c.list.ThisUpdate.Format(time.RFC3339))
	}
	if err := c.scope.covers(cert); err != nil {
		return unknown, err
	}
	if _, listed := c.entries[cert.SerialNumber.String()]; listed {
		return revoked, nil
	}
	if c.list.NextUpdate.IsZero() || !now.Before(c.list.NextUpdate) {
		return unknown, fmt.Errorf("it is out of date since %s", c.list.NextUpdate.Format(time.RFC3339))
	}
	return good, nil
}

// scope is what the issuing distribution point says, RFC 5280 section 5.2.5.
type scope struct {
	urls              []string // of the distribution point; nil: all certificates
	usersOnly, caOnly bool
}

// issuingDistributionPoint in DER. An indirect CRL or one for some reasons is refused, so those are read too.
type issuingDistributionPoint struct {
	Point          distributionPointName `asn1:"optional,tag:0"`
	UsersOnly      bool                  `asn1:"optional,tag:1"`
	CAOnly         bool                  `asn1:"optional,tag:2"`
	SomeReasons    asn1.BitString        `asn1:"optional,tag:3"`
	Indirect       bool                  `asn1:"optional,tag:4"`
	AttributesOnly bool                  `asn1:"optional,tag:5"`
}

type distributionPointName struct {
	FullName []asn1.RawValue `asn1:"optional,tag:0"`
	Relative asn1.RawValue   `asn1:"optional,tag:1"`
}

func readScope(list *x509.RevocationList) (scope, error) {
	var s scope
	for _, ext := range list.Extensions {
		switch {
		case ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 28}):
			var p issuingDistributionPoint
			if rest, err := asn1.Unmarshal(ext.Value, &p); err != nil || len(rest) > 0 {
				return s, errors.New("CRL with a bad issuing distribution point")
			}
			if p.Indirect || p.AttributesOnly || p.SomeReasons.BitLength > 0 || len(p.Point.Relative.FullBytes) > 0 {
				return s, errors.New("indirect or partial CRLs are not used")
			}
			s.usersOnly, s.caOnly = p.UsersOnly, p.CAOnly
			for _, n := range p.Point.FullName {
				if n.Class == asn1.ClassContextSpecific && n.Tag == 6 {
					s.urls = append(s.urls, string(n.Bytes))
				}
			}
			if len(p.Point.FullName) > 0 && len(s.urls) == 0 {
				return s, errors.New("CRL of a distribution point without URL")
			}
		case ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 27}):
			return s, errors.New("delta CRLs are not used")
		case ext.Critical:
			return s, fmt.Errorf("CRL with the critical extension %s", ext.Id)
		}
	}
	return s, nil
}

// covers: a CRL of one distribution point says nothing of certificates that name another one.
func (s scope) covers(cert *x509.Certificate) error {
	switch {
	case s.usersOnly && cert.IsCA, s.caOnly && !cert.IsCA:
		return errors.New("it is for certificates of another kind")
	case s.urls != nil && !slices.ContainsFunc(s.urls, func(u string) bool { return slices.Contains(cert.CRLDistributionPoints, u) }):
		return fmt.Errorf("it is for the distribution point %q, which the certificate does not name", s.urls[0])
	}
	return nil
}
