package revocation

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// errOther: a response is about other certificates.
var errOther = errors.New("it is about other certificates")

// untilNow is how old a response without nextUpdate may be, RFC 6960 section 2.4: newer is always there.
const untilNow = time.Hour

// readOCSP reads a response (RFC 6960) and returns what it says of the certificate and until when. Errors:
// errOther, or why it is not to be believed.
//
// The ocsp package verifies signatures. What it leaves to its caller is done here: that the response is for
// this issuer's certificate and not for one with the same serial number, that a delegated responder may
// respond and is in time, and that the response is current.
func readOCSP(der []byte, cert, issuer *x509.Certificate, now time.Time) (status, time.Time, error) {
	if len(der) > maxOCSPBytes {
		return unknown, time.Time{}, fmt.Errorf("response of %d bytes, at most %d are read", len(der), maxOCSPBytes)
	}
	r, err := ocsp.ParseResponseForCert(der, cert, issuer)
	if err != nil {
		return unknown, time.Time{}, err
	}
	if err := names(r.TBSResponseData, cert, issuer); err != nil {
		return unknown, time.Time{}, err
	}
	if err := mayRespond(r, issuer, now); err != nil {
		return unknown, time.Time{}, err
	}
	until := r.NextUpdate
	if until.IsZero() {
		until = r.ThisUpdate.Add(untilNow)
	}
	switch {
	case now.Add(clockSkew).Before(r.ThisUpdate):
		return unknown, time.Time{}, fmt.Errorf("it is from the future: %s", r.ThisUpdate.Format(time.RFC3339))
	case r.Status == ocsp.Revoked:
		return revoked, until, nil
	case !now.Before(until):
		return unknown, time.Time{}, fmt.Errorf("it is out of date since %s", until.Format(time.RFC3339))
	case r.Status == ocsp.Good:
		return good, until, nil
	}
	return unknown, time.Time{}, errors.New("the responder does not know the certificate")
}

// mayRespond: RFC 6960 section 4.2.2.2. The responder is the issuer, or has a certificate of the issuer's for
// OCSP signing. Whether that one has been revoked is not asked: CAs give them short lives.
func mayRespond(r *ocsp.Response, issuer *x509.Certificate, now time.Time) error {
	c := r.Certificate
	switch {
	case c == nil || bytes.Equal(c.Raw, issuer.Raw):
		return nil
	case !bytes.Equal(c.RawIssuer, issuer.RawSubject):
		return fmt.Errorf("its responder's certificate is of %q, not of %q", c.Issuer, issuer.Subject)
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return fmt.Errorf("its responder %q has no certificate for OCSP signing", c.Subject)
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return fmt.Errorf("the key of its responder %q is not for signatures", c.Subject)
	case len(c.UnhandledCriticalExtensions) > 0:
		return fmt.Errorf("the certificate of its responder %q has the critical extension %s", c.Subject, c.UnhandledCriticalExtensions[0])
	case now.Before(c.NotBefore) || now.After(c.NotAfter):
		return fmt.Errorf("the certificate of its responder %q is not in time", c.Subject)
	}
	return nil
}

// responseData is the part of ResponseData (RFC 6960 section 4.2.1) that names certificates.
type responseData struct {
	Version     int `asn1:"optional,default:0,explicit,tag:0"`
	ResponderID asn1.RawValue
	ProducedAt  time.Time `asn1:"generalized"`
	Responses   []struct {
		ID struct {
			Hash     pkix.AlgorithmIdentifier
			NameHash []byte
			KeyHash  []byte
			Serial   *big.Int
		}
		Status     asn1.RawValue
		ThisUpdate time.Time     `asn1:"generalized"`
		NextUpdate time.Time     `asn1:"generalized,explicit,tag:0,optional"`
		Extensions asn1.RawValue `asn1:"optional,explicit,tag:1"`
	}
	Extensions asn1.RawValue `asn1:"optional,explicit,tag:1"`
}

// names reports whether the one response with the certificate's serial number is for this issuer.
func names(tbs []byte, cert, issuer *x509.Certificate) error {
	var d responseData
	if rest, err := asn1.Unmarshal(tbs, &d); err != nil || len(rest) > 0 {
		return fmt.Errorf("response data cannot be read: %w", err)
	}
	seen := 0
	for _, r := range d.Responses {
		if r.ID.Serial.Cmp(cert.SerialNumber) != 0 {
			continue
		}
		if seen++; seen > 1 {
			return errors.New("it has two responses for one serial number")
		}
		h, ok := hashOf(r.ID.Hash.Algorithm)
		if !ok {
			return fmt.Errorf("it names the issuer by the hash %s", r.ID.Hash.Algorithm)
		}
		key, err := keyBits(issuer)
		if err != nil {
			return err
		}
		if !bytes.Equal(digest(h, issuer.RawSubject), r.ID.NameHash) || !bytes.Equal(digest(h, key), r.ID.KeyHash) {
			return errOther
		}
	}
	if seen == 0 {
		return errOther
	}
	return nil
}

// hashOf: SHA-1 here only names the issuer; the response's signature protects it.
func hashOf(oid asn1.ObjectIdentifier) (crypto.Hash, bool) {
	switch {
	case oid.Equal(asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}):
		return crypto.SHA1, true
	case oid.Equal(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}):
		return crypto.SHA256, true
	}
	return 0, false
}

func digest(h crypto.Hash, b []byte) []byte {
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}

// keyBits are those of the issuer's SubjectPublicKeyInfo that the key hash covers.
func keyBits(issuer *x509.Certificate) ([]byte, error) {
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(issuer.RawSubjectPublicKeyInfo, &spki); err != nil {
		return nil, err
	}
	return spki.Key.RightAlign(), nil
}
