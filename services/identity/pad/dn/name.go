package dn

import (
	"bytes"
	"cmp"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ErrName: a distinguished name is not well-formed, or holds what a name can hide behind.
var ErrName = errors.New("bad distinguished name")

// Bounds of a name: no certificate that anybody uses comes near.
const (
	maxBytes = 4096
	maxRDNs  = 32
	maxAttrs = 8 // of one RDN
)

// Name is a distinguished name, most significant RDN first.
type Name []RDN

// RDN is a set of attributes, each of another type, sorted by type.
type RDN []Attribute

// Attribute is one type and value.
type Attribute struct {
	Type  string // dotted decimal
	Value string // the text, or for a value that is no string "#" and its DER in hexadecimal
}

// ParseDER reads the DER of a Name (RFC 5280 section 4.1.2.4). Errors: ErrName, also for an empty name
// and for a value with characters that cannot be printed, NUL above all.
func ParseDER(der []byte) (Name, error) {
	if len(der) > maxBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrName, len(der), maxBytes)
	}
	s := cryptobyte.String(der)
	var rdns cryptobyte.String
	if !s.ReadASN1(&rdns, cbasn1.SEQUENCE) || !s.Empty() {
		return nil, fmt.Errorf("%w: no SEQUENCE, or bytes behind it", ErrName)
	}
	var name Name
	for !rdns.Empty() {
		rdn, err := readRDN(&rdns)
		if err != nil {
			return nil, err
		}
		if name = append(name, rdn); len(name) > maxRDNs {
			return nil, fmt.Errorf("%w: more than %d RDNs", ErrName, maxRDNs)
		}
	}
	if len(name) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrName)
	}
	return name, nil
}

func readRDN(s *cryptobyte.String) (RDN, error) {
	var set cryptobyte.String
	if !s.ReadASN1(&set, cbasn1.SET) || set.Empty() {
		return nil, fmt.Errorf("%w: an RDN is no SET, or an empty one", ErrName)
	}
	var rdn RDN
	for !set.Empty() {
		var attribute, element cryptobyte.String
		var tag cbasn1.Tag
		var oid asn1.ObjectIdentifier
		if !set.ReadASN1(&attribute, cbasn1.SEQUENCE) || !attribute.ReadASN1ObjectIdentifier(&oid) ||
			!attribute.ReadAnyASN1Element(&element, &tag) || !attribute.Empty() {
			return nil, fmt.Errorf("%w: an attribute is no type and value", ErrName)
		}
		value, err := readValue(element, tag)
		if err != nil {
			return nil, fmt.Errorf("%w: attribute %s: %s", ErrName, oid, err)
		}
		if rdn = append(rdn, Attribute{Type: oid.String(), Value: value}); len(rdn) > maxAttrs {
			return nil, fmt.Errorf("%w: more than %d attributes in one RDN", ErrName, maxAttrs)
		}
	}
	if rdn.sort(); rdn.repeats() {
		return nil, fmt.Errorf("%w: one RDN has two attributes of one type", ErrName)
	}
	return rdn, nil
}

// readValue turns a value into text. The string types of RFC 5280 section 4.1.2.4 and IA5String count
// as strings, TeletexString only while it is ASCII; every other type keeps its DER.
func readValue(element cryptobyte.String, tag cbasn1.Tag) (string, error) {
	der := bytes.Clone(element)
	var content cryptobyte.String
	if !element.ReadAnyASN1(&content, &tag) {
		return "", errors.New("it is no DER")
	}
	var text string
	switch tag {
	case cbasn1.PrintableString, cbasn1.IA5String, cbasn1.T61String, 18 /* NumericString */ :
		text = string(content)
		if strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII }) {
			return "", errors.New("its string has bytes above ASCII")
		}
	case cbasn1.UTF8String:
		text = string(content)
	case 30 /* BMPString */ :
		if len(content)%2 != 0 {
			return "", errors.New("its BMPString has half a character")
		}
		units := make([]uint16, 0, len(content)/2)
		for ; len(content) > 0; content = content[2:] {
			units = append(units, uint16(content[0])<<8|uint16(content[1]))
		}
		text = string(utf16.Decode(units))
	default:
		return fmt.Sprintf("#%x", der), nil
	}
	return text, checkText(text)
}

func checkText(text string) error {
	if text == "" {
		return errors.New("its value is empty")
	}
	if !utf8.ValidString(text) {
		return errors.New("its value is no UTF-8")
	}
	for _, r := range text {
		if r != ' ' && !unicode.IsPrint(r) || r == utf8.RuneError {
			return fmt.Errorf("its value %q has a character that cannot be printed", text)
		}
	}
	if strings.HasPrefix(text, "#") {
		return errors.New("its value begins with #")
	}
	return nil
}

func (r RDN) sort() {
	slices.SortFunc(r, func(a, b Attribute) int { return cmp.Compare(a.Type, b.Type) })
}

// repeats: X.501 section 9.3 forbids two attributes of one type, and without them the order of a sorted
// RDN does not depend on the values.
func (r RDN) repeats() bool {
	return len(slices.CompactFunc(slices.Clone(r), func(a, b Attribute) bool { return a.Type == b.Type })) < len(r)
}

// Equal reports whether the names are the same: see the package comment.
func (n Name) Equal(other Name) bool {
	return slices.EqualFunc(n, other, func(a, b RDN) bool { return slices.Equal(a, b) })
}

// EqualDER reports whether both are the DER of one name; false when either is not well-formed.
func EqualDER(a, b []byte) bool {
	x, err := ParseDER(a)
	if err != nil {
		return false
	}
	y, err := ParseDER(b)
	return err == nil && x.Equal(y)
}
