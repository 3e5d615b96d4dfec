package dn

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Parse reads RFC 4514 text without wildcards, e.g. "CN=gw,O=Example,C=CH". Spaces around the commas
// are allowed. Error: ErrName.
func Parse(s string) (Name, error) {
	p, err := ParsePattern(s)
	if err != nil {
		return nil, err
	}
	if len(p.stars) > 0 {
		return nil, fmt.Errorf("%w: %q has a wildcard where a whole name is needed; write \\2A for a star", ErrName, s)
	}
	return p.name, nil
}

// ParsePattern reads RFC 4514 text in which values may be "*". Error: ErrName.
func ParsePattern(s string) (Pattern, error) {
	if len(s) > maxBytes {
		return Pattern{}, fmt.Errorf("%w: text of %d bytes, at most %d are read", ErrName, len(s), maxBytes)
	}
	var rdns []starredRDN
	scan := scanner{rest: s}
	for more := true; more; {
		var rdn starredRDN
		for separator := byte('+'); separator == '+'; {
			a, end, err := scan.attribute()
			if err != nil {
				return Pattern{}, fmt.Errorf("%w: %q: %w", ErrName, s, err)
			}
			rdn, separator, more = append(rdn, a), end, end == ','
		}
		if rdns = append(rdns, rdn); len(rdns) > maxRDNs || len(rdn) > maxAttrs {
			return Pattern{}, fmt.Errorf("%w: %q has too many parts", ErrName, s)
		}
	}
	slices.Reverse(rdns)
	p := newPattern(rdns)
	if slices.ContainsFunc(p.name, RDN.repeats) {
		return Pattern{}, fmt.Errorf("%w: %q has two attributes of one type in one RDN", ErrName, s)
	}
	return p, nil
}

// scanner walks over RFC 4514 text.
type scanner struct{ rest string }

// attribute reads TYPE=VALUE and what ends it: ',', '+', or 0 at the end.
func (s *scanner) attribute() (starred, byte, error) {
	kind, rest, found := strings.Cut(s.rest, "=")
	kind = strings.TrimSpace(kind)
	if !found || kind == "" {
		return starred{}, 0, fmt.Errorf("%q is no TYPE=VALUE", s.rest)
	}
	oid, known := keywords()[strings.ToUpper(kind)]
	if !known {
		if strings.Trim(kind, "0123456789.") != "" {
			return starred{}, 0, fmt.Errorf("attribute type %q is unknown; write its object identifier in dots", kind)
		}
		oid = kind
	}
	s.rest = rest
	value, wild, end, err := s.value()
	if err != nil {
		return starred{}, 0, fmt.Errorf("%s: %w", kind, err)
	}
	a := starred{Attribute: Attribute{Type: oid, Value: value}, star: wild}
	if _, err := (Name{RDN{a.Attribute}}).DER(); err != nil {
		return starred{}, 0, fmt.Errorf("%s: %w", kind, err)
	}
	return a, end, nil
}

// value reads up to a separator that is not escaped.
func (s *scanner) value() (text string, star bool, end byte, err error) {
	var b strings.Builder
	keep, i := 0, 0 // keep: bytes that are escaped and so not trimmed
	for ; i < len(s.rest) && s.rest[i] != ',' && s.rest[i] != '+'; i++ {
		c := s.rest[i]
		switch {
		case strings.IndexByte(`"<>;`, c) >= 0:
			return "", false, 0, fmt.Errorf("%q must be escaped by a backslash", c)
		case c != '\\':
			if c == ' ' && b.Len() == 0 {
				continue
			}
			b.WriteByte(c)
		default:
			n, err := s.escaped(&b, i+1)
			if err != nil {
				return "", false, 0, err
			}
			i, keep = i+n, b.Len()
		}
	}
	raw := strings.TrimSpace(s.rest[:i])
	text = b.String()
	for len(text) > keep && strings.HasSuffix(text, " ") {
		text = text[:len(text)-1]
	}
	if i < len(s.rest) {
		end, s.rest = s.rest[i], s.rest[i+1:]
	} else {
		s.rest = ""
	}
	switch {
	case raw == "*":
		return "", true, end, nil
	case strings.Contains(strings.ReplaceAll(raw, `\*`, ""), "*"):
		return "", false, 0, fmt.Errorf("value %q: a star stands for a whole value only; write \\2A for a star", raw)
	case strings.HasPrefix(raw, "#"):
		text, err = hexValue(raw)
		return text, false, end, err
	}
	return text, false, end, checkText(text)
}

// escaped reads what follows a backslash at index i and returns how many bytes it took.
func (s *scanner) escaped(b *strings.Builder, i int) (int, error) {
	if i+1 < len(s.rest) {
		if c, err := hex.DecodeString(s.rest[i : i+2]); err == nil {
			b.Write(c)
			return 2, nil
		}
	}
	if i < len(s.rest) && strings.IndexByte(`"+,;<>\= #*`, s.rest[i]) >= 0 {
		b.WriteByte(s.rest[i])
		return 1, nil
	}
	return 0, fmt.Errorf("a backslash escapes nothing in %q", s.rest)
}

// hexValue reads RFC 4514's "#" form: one DER element, which may be a string.
func hexValue(raw string) (string, error) {
	der, err := hex.DecodeString(raw[1:])
	if err != nil {
		return "", fmt.Errorf("value %q: %w", raw, err)
	}
	var element cryptobyte.String
	var tag cbasn1.Tag
	s := cryptobyte.String(der)
	if !s.ReadAnyASN1Element(&element, &tag) || !s.Empty() {
		return "", fmt.Errorf("value %q is not one DER element", raw)
	}
	return readValue(element, tag)
}
