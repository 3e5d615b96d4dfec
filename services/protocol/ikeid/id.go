// Package ikeid reads and writes the identities of IKE as people do.
//
//	192.0.2.1, 2001:db8::1     ID_IPV4_ADDR, ID_IPV6_ADDR
//	gw.example.org, @gw        ID_FQDN
//	alice@example.org          ID_RFC822_ADDR
//	fqdn:gw, rfc822:a@b, ...   the type by name: ipv4, ipv6, fqdn, rfc822, keyid
//	keyid:@#0a0b, keyid:text   ID_KEY_ID, in hexadecimal or as text
//	dn:#3010...                ID_DER_ASN1_DN, its DER in hexadecimal
package ikeid

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// maxLen bounds an identity, bytes.
const maxLen = 1024

// ErrID: a text is no identity. The error says what is wrong, and what to do.
var ErrID = errors.New("ikeid")

func wrong(format string, args ...any) (ikewire.Identification, error) {
	return ikewire.Identification{}, fmt.Errorf("%w: %s", ErrID, fmt.Sprintf(format, args...))
}

// Parse reads an identity. Errors: ErrID.
func Parse(text string) (ikewire.Identification, error) {
	if text == "" || len(text) > maxLen {
		return wrong("has %d bytes: want 1 to %d", len(text), maxLen)
	}
	if a, err := netip.ParseAddr(text); err == nil {
		return OfAddr(a)
	}
	if kind, value, typed := strings.Cut(text, ":"); typed {
		return parseTyped(kind, value)
	}
	if name, ok := strings.CutPrefix(text, "@"); ok {
		return named(ikewire.IDFQDN, name)
	}
	if strings.Contains(text, "=") {
		return wrong("%q looks like a distinguished name: write dn:# and its DER in hexadecimal", text)
	}
	if strings.Contains(text, "@") {
		return named(ikewire.IDRFC822Addr, text)
	}
	return named(ikewire.IDFQDN, text)
}

// OfAddr is the identity of an address.
func OfAddr(a netip.Addr) (ikewire.Identification, error) {
	switch a = a.Unmap(); {
	case !a.IsValid() || a.Zone() != "":
		return wrong("%v is no address without a zone", a)
	case a.Is4():
		return ikewire.Identification{Type: ikewire.IDIPv4Addr, Data: a.AsSlice()}, nil
	}
	return ikewire.Identification{Type: ikewire.IDIPv6Addr, Data: a.AsSlice()}, nil
}

func parseTyped(kind, value string) (ikewire.Identification, error) {
	switch kind {
	case "ipv4", "ipv6":
		a, err := netip.ParseAddr(value)
		if err != nil || a.Is4() != (kind == "ipv4") {
			return wrong("%q is no address of %s", value, kind)
		}
		return OfAddr(a)
	case "fqdn":
		return named(ikewire.IDFQDN, value)
	case "rfc822":
		return named(ikewire.IDRFC822Addr, value)
	case "keyid":
		if digits, ok := strings.CutPrefix(value, "@#"); ok {
			return binary(ikewire.IDKeyID, digits)
		}
		return named(ikewire.IDKeyID, value)
	case "dn":
		digits, ok := strings.CutPrefix(value, "#")
		if !ok {
			return wrong("a distinguished name is written dn:# and its DER in hexadecimal")
		}
		return binary(ikewire.IDDERASN1DN, digits)
	}
	return wrong("%q is no type of an identity: ipv4, ipv6, fqdn, rfc822, keyid and dn are", kind)
}

func named(t ikewire.IDType, value string) (ikewire.Identification, error) {
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return wrong("%q is no name", value)
	}
	return ikewire.Identification{Type: t, Data: []byte(value)}, nil
}

func binary(t ikewire.IDType, digits string) (ikewire.Identification, error) {
	data, err := hex.DecodeString(digits)
	if err != nil || len(data) == 0 {
		return wrong("%q is not hexadecimal", digits)
	}
	return ikewire.Identification{Type: t, Data: data}, nil
}

// Text writes an identity so that Parse reads it, if it has a form for it.
func Text(id ikewire.Identification) string {
	if a, ok := id.Addr(); ok {
		return a.String()
	}
	switch id.Type {
	case 0:
		return ""
	case ikewire.IDFQDN:
		return plain(id, "fqdn")
	case ikewire.IDRFC822Addr:
		return plain(id, "rfc822")
	case ikewire.IDKeyID:
		return "keyid:@#" + hex.EncodeToString(id.Data)
	case ikewire.IDDERASN1DN:
		return "dn:#" + hex.EncodeToString(id.Data)
	}
	return id.String()
}

// plain writes a name without its type where that is understood.
func plain(id ikewire.Identification, kind string) string {
	text := string(id.Data)
	if again, err := Parse(text); err == nil && Equal(again, id) {
		return text
	}
	return kind + ":" + strings.ToValidUTF8(text, "?")
}

// Equal reports whether two identities are the same, RFC 7296 section 3.5: names of hosts in any case.
func Equal(a, b ikewire.Identification) bool {
	if a.Type == ikewire.IDFQDN && b.Type == ikewire.IDFQDN {
		return strings.EqualFold(string(a.Data), string(b.Data))
	}
	return a.Type == b.Type && bytes.Equal(a.Data, b.Data)
}
