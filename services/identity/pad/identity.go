package pad

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"sallyport.dev/sallyport/services/identity/pad/dn"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

const maxIdentity = 1024 // bytes

// ParseIdentity reads one identity, as ParsePattern does. Error: ErrIdentity, also for a set.
func ParseIdentity(s string) (ikewire.Identification, error) {
	p, err := ParsePattern(s)
	if err != nil {
		return ikewire.Identification{}, err
	}
	if !p.exact() {
		return ikewire.Identification{}, fmt.Errorf("%w: %q is not one identity", ErrIdentity, s)
	}
	id := ikewire.Identification{Type: p.kind, Data: []byte(p.text)}
	switch p.kind {
	case ikewire.IDIPv4Addr, ikewire.IDIPv6Addr:
		id.Data = p.prefix.Addr().AsSlice()
	case ikewire.IDDERASN1DN:
		name, _ := p.dn.Exact()
		if id.Data, err = name.DER(); err != nil {
			return ikewire.Identification{}, fmt.Errorf("%w: %q: %w", ErrIdentity, s, err)
		}
	}
	return id, nil
}

// FormatIdentity returns an identity for people: what ParseIdentity reads where it is well-formed.
func FormatIdentity(id ikewire.Identification) string {
	p, err := exactly(id)
	if err != nil {
		return id.String()
	}
	return p.String()
}

// SameIdentity reports whether both name the same end, as Pattern compares.
func SameIdentity(a, b ikewire.Identification) bool {
	p, err := exactly(a)
	return err == nil && p.Match(b)
}

// exactly returns the pattern of one identity. Errors say what in it a name can hide behind: an ID from a peer
// must mean one thing to every reader, logs and certificates included.
func exactly(id ikewire.Identification) (Pattern, error) {
	if len(id.Data) > maxIdentity {
		return Pattern{}, fmt.Errorf("it has %d bytes, at most %d are read", len(id.Data), maxIdentity)
	}
	switch id.Type {
	case ikewire.IDIPv4Addr, ikewire.IDIPv6Addr:
		a, ok := netip.AddrFromSlice(id.Data)
		if !ok || a.Is4() != (id.Type == ikewire.IDIPv4Addr) || a.Is4In6() {
			return Pattern{}, fmt.Errorf("%x is no address of its type", id.Data)
		}
		return Pattern{kind: id.Type, prefix: netip.PrefixFrom(a, a.BitLen())}, nil
	case ikewire.IDFQDN:
		name := canonicalName(string(id.Data))
		return Pattern{kind: id.Type, text: name}, checkName(name)
	case ikewire.IDRFC822Addr:
		text, err := canonicalMailbox(string(id.Data))
		return Pattern{kind: id.Type, text: text}, err
	case ikewire.IDDERASN1DN:
		name, err := dn.ParseDER(id.Data)
		return Pattern{kind: id.Type, dn: dn.Exactly(name)}, err
	case ikewire.IDKeyID:
		if len(id.Data) == 0 {
			return Pattern{}, errors.New("it is empty")
		}
		return Pattern{kind: id.Type, text: string(id.Data)}, nil
	case ikewire.IDNull:
		return Pattern{kind: id.Type}, nil
	}
	return Pattern{}, fmt.Errorf("identities of type %s are not used", id.Type)
}

// canonicalName: case and one final dot do not count in names of hosts.
func canonicalName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// checkName refuses what is no name: a star above all, which would be taken for a wildcard.
func checkName(s string) error {
	if s == "" || len(s) > 255 {
		return fmt.Errorf("a name has 1 to 255 characters, not %d", len(s))
	}
	if strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".") || strings.Contains(s, "..") {
		return fmt.Errorf("the name %q has an empty label", s)
	}
	for _, r := range s {
		if r <= ' ' || r > '~' || strings.ContainsRune(`*@,/\:"'`, r) {
			return fmt.Errorf("the name %q has the character %q", s, r)
		}
	}
	return nil
}

// canonicalMailbox: the case of the domain does not count, that of the part before it does (RFC 5280 section 7.5).
func canonicalMailbox(s string) (string, error) {
	at := strings.LastIndexByte(s, '@')
	if at <= 0 {
		return "", fmt.Errorf("%q is no mailbox", s)
	}
	local, domain := s[:at], canonicalName(s[at+1:])
	if strings.ContainsAny(local, "*@ \t\"\x00") {
		return "", fmt.Errorf("the mailbox %q has a character that is not used", s)
	}
	return local + "@" + domain, checkName(domain)
}

// keyIDText writes a key ID as text where that is unmistakable, else in hexadecimal.
func keyIDText(s string) string {
	plain := !strings.HasPrefix(s, "0x") && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
	if plain {
		return s
	}
	return fmt.Sprintf("0x%x", s)
}
