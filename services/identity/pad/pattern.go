package pad

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"sallyport.dev/sallyport/services/identity/pad/dn"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// ErrIdentity: an identity or a pattern of identities is not well-formed.
var ErrIdentity = errors.New("pad: bad identity")

// Pattern is a set of identities. The zero Pattern has none in it.
type Pattern struct {
	any    bool           // all but ID_NULL
	kind   ikewire.IDType // of those in it
	prefix netip.Prefix   // ID_IPV4_ADDR, ID_IPV6_ADDR
	text   string         // ID_FQDN, ID_RFC822_ADDR in canonical form; ID_KEY_ID and others as bytes
	below  bool           // ID_FQDN: names below text; ID_RFC822_ADDR: mailboxes at text
	dn     dn.Pattern     // ID_DER_ASN1_DN
}

// AnyIdentity is every identity but ID_NULL.
func AnyIdentity() Pattern { return Pattern{any: true} }

// NullIdentity is ID_NULL, for entries that accept NULL authentication.
func NullIdentity() Pattern { return Pattern{kind: ikewire.IDNull} }

// ParsePattern reads TYPE:VALUE, or a value that tells its type:
//
//	any                                     AnyIdentity
//	null:                                   NullIdentity
//	ipv4:192.0.2.1  ipv6:2001:db8::/32      an address, or a prefix
//	fqdn:gw.example fqdn:*.example          a name, or all names below one
//	rfc822:a@b.example rfc822:*@b.example   a mailbox, or all of one domain
//	dn:CN=*,O=Example,C=CH                  RFC 4514; "*" is any one value (see package dn)
//	keyid:TEXT      keyid:0x00ff            bytes
//
// Without TYPE an address or prefix is one, a value with "=" is a DN, one that begins with "@" is the name
// behind it, one with "@" elsewhere a mailbox, all else a name. Error: ErrIdentity.
func ParsePattern(s string) (Pattern, error) {
	kind, value, typed := strings.Cut(s, ":")
	p, err := Pattern{}, error(nil)
	switch strings.ToLower(kind) {
	case "any":
		if typed {
			err = errors.New(`"any" has no value`)
		}
		p = AnyIdentity()
	case "null":
		if p = NullIdentity(); !typed || value != "" {
			err = errors.New(`write "null:" for ID_NULL, "fqdn:null" for the name`)
		}
	case "ipv4", "ipv6":
		p, err = parseAddr(value)
		if err == nil && p.kind != map[bool]ikewire.IDType{true: ikewire.IDIPv4Addr, false: ikewire.IDIPv6Addr}[strings.EqualFold(kind, "ipv4")] {
			err = fmt.Errorf("%s is of the other family", value)
		}
	case "fqdn":
		p, err = parseFQDN(value)
	case "rfc822", "email":
		p, err = parseMailbox(value)
	case "dn", "asn1dn":
		p, err = parseDN(value)
	case "keyid":
		p, err = parseKeyID(value)
	default:
		p, err = parseUntyped(s)
	}
	if err != nil {
		return Pattern{}, fmt.Errorf("%w: %q: %w", ErrIdentity, s, err)
	}
	return p, nil
}

func parseUntyped(s string) (Pattern, error) {
	if p, err := parseAddr(s); err == nil {
		return p, nil
	}
	name, at := strings.CutPrefix(s, "@")
	switch {
	case at:
		return parseFQDN(name)
	case strings.Contains(s, "="):
		return parseDN(s)
	case strings.Contains(s, "@"):
		return parseMailbox(s)
	}
	return parseFQDN(s)
}

func parseAddr(s string) (Pattern, error) {
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		a, addrErr := netip.ParseAddr(s)
		if addrErr != nil || a.Zone() != "" {
			return Pattern{}, fmt.Errorf("%q is no address without zone, and no prefix", s)
		}
		prefix = netip.PrefixFrom(a, a.BitLen())
	}
	a := prefix.Addr()
	switch {
	case a.Is4In6():
		return Pattern{}, fmt.Errorf("%s: write it as an IPv4 address", s)
	case prefix.Masked() != prefix:
		return Pattern{}, fmt.Errorf("%s has bits behind the prefix; write %s", s, prefix.Masked())
	}
	if a.Is4() {
		return Pattern{kind: ikewire.IDIPv4Addr, prefix: prefix}, nil
	}
	return Pattern{kind: ikewire.IDIPv6Addr, prefix: prefix}, nil
}

func parseFQDN(s string) (Pattern, error) {
	name, below := strings.CutPrefix(s, "*.")
	name = canonicalName(name)
	return Pattern{kind: ikewire.IDFQDN, text: name, below: below}, checkName(name)
}

func parseMailbox(s string) (Pattern, error) {
	if domain, below := strings.CutPrefix(s, "*@"); below {
		domain = canonicalName(domain)
		return Pattern{kind: ikewire.IDRFC822Addr, text: domain, below: true}, checkName(domain)
	}
	text, err := canonicalMailbox(s)
	return Pattern{kind: ikewire.IDRFC822Addr, text: text}, err
}

func parseDN(s string) (Pattern, error) {
	p, err := dn.ParsePattern(s)
	return Pattern{kind: ikewire.IDDERASN1DN, dn: p}, err
}

func parseKeyID(s string) (Pattern, error) {
	if raw, isHex := strings.CutPrefix(s, "0x"); isHex {
		b, err := hex.DecodeString(raw)
		if err != nil {
			return Pattern{}, err
		}
		s = string(b)
	}
	if s == "" || len(s) > maxIdentity {
		return Pattern{}, fmt.Errorf("a key ID has 1 to %d bytes", maxIdentity)
	}
	return Pattern{kind: ikewire.IDKeyID, text: s}, nil
}
