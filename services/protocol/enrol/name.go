package enrol

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
)

// Kind says what a certificate stands for: the first segment of its SPIFFE path.
type Kind string

// The kinds.
const (
	KindHost       Kind = "host"
	KindOperator   Kind = "operator"
	KindController Kind = "controller"
)

// ErrName means that a certificate's name is not one of this fleet's.
var ErrName = errors.New("the certificate's name is not a fleet's")

// Name is who a certificate stands for: spiffe://TRUST-DOMAIN/KIND/NAME.
type Name struct {
	// TrustDomain is the fleet's.
	TrustDomain string
	// Kind is host, operator or controller.
	Kind Kind
	// Name is the resource's or the controller's.
	Name string
}

const (
	scheme         = "spiffe://"
	maxTrustDomain = 253
	maxName        = 63
	// maxURI bounds a SPIFFE ID (SPIFFE-ID section 2.3 says 2048 bytes; ours are shorter).
	maxURI = len(scheme) + maxTrustDomain + 1 + len(KindController) + 1 + maxName
)

// String returns the SPIFFE ID.
func (n Name) String() string {
	return scheme + n.TrustDomain + "/" + string(n.Kind) + "/" + n.Name
}

// Validate reports what is wrong with the name: nil means that ParseName(n.String()) is n.
func (n Name) Validate() error {
	switch {
	case !ValidTrustDomain(n.TrustDomain):
		return fmt.Errorf("%w: trust domain %q", ErrName, n.TrustDomain)
	case n.Kind != KindHost && n.Kind != KindOperator && n.Kind != KindController:
		return fmt.Errorf("%w: kind %q", ErrName, n.Kind)
	case !ValidName(n.Name):
		return fmt.Errorf("%w: name %q", ErrName, n.Name)
	}
	return nil
}

// ParseName reads a SPIFFE ID of just the form that String writes: no port, user, query, fragment,
// escape, upper case, empty or further segment.
func ParseName(uri string) (Name, error) {
	if len(uri) > maxURI {
		return Name{}, fmt.Errorf("%w: longer than %d bytes", ErrName, maxURI)
	}
	rest, ok := strings.CutPrefix(uri, scheme)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 {
		return Name{}, fmt.Errorf("%w: %q is not spiffe://TRUST-DOMAIN/KIND/NAME", ErrName, uri)
	}
	n := Name{TrustDomain: parts[0], Kind: Kind(parts[1]), Name: parts[2]}
	if err := n.Validate(); err != nil {
		return Name{}, err
	}
	return n, nil
}

// NameOf returns who a leaf certificate stands for. The certificate must have exactly one URI and
// not be a CA's (X.509-SVID sections 2 and 4.1). It does not verify the certificate.
func NameOf(leaf *x509.Certificate) (Name, error) {
	if leaf.IsCA {
		return Name{}, fmt.Errorf("%w: it is a CA certificate", ErrName)
	}
	if len(leaf.URIs) != 1 {
		return Name{}, fmt.Errorf("%w: it has %d URIs, not one", ErrName, len(leaf.URIs))
	}
	return ParseName(leaf.URIs[0].String())
}

// ValidTrustDomain reports whether s can be a trust domain: 1 to 253 bytes of lower-case letters,
// digits, dots and hyphens, letter or digit at both ends (stricter than SPIFFE-ID section 2.1).
func ValidTrustDomain(s string) bool { return len(s) <= maxTrustDomain && nameShaped(s) }

// ValidName reports whether s can name a host, an operator or a controller: 1 to 63 bytes of
// lower-case letters, digits, dots and hyphens, letter or digit at both ends.
func ValidName(s string) bool { return len(s) <= maxName && nameShaped(s) }

func nameShaped(s string) bool {
	for i := range len(s) {
		alphanumeric := 'a' <= s[i] && s[i] <= 'z' || '0' <= s[i] && s[i] <= '9'
		inner := i > 0 && i < len(s)-1
		if !alphanumeric && !(inner && (s[i] == '.' || s[i] == '-')) {
			return false
		}
	}
	return s != ""
}
