// Package ikeid says of the identities of IKE what does not need the PAD: which one an address is, which are the same,
// and how people write them. The PAD (package pad) reads what people write.
package ikeid

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// ErrAddr: it is no address that an identity can be.
var ErrAddr = errors.New("ikeid: no address without a zone")

// OfAddr is the identity of an address. Error: ErrAddr.
func OfAddr(a netip.Addr) (ikewire.Identification, error) {
	switch a = a.Unmap(); {
	case !a.IsValid() || a.Zone() != "":
		return ikewire.Identification{}, fmt.Errorf("%w: %v", ErrAddr, a)
	case a.Is4():
		return ikewire.Identification{Type: ikewire.IDIPv4Addr, Data: a.AsSlice()}, nil
	}
	return ikewire.Identification{Type: ikewire.IDIPv6Addr, Data: a.AsSlice()}, nil
}

// Text writes an identity for people; "" when there is none.
func Text(id ikewire.Identification) string {
	if a, ok := id.Addr(); ok {
		return a.String()
	}
	switch id.Type {
	case 0:
		return ""
	case ikewire.IDFQDN, ikewire.IDRFC822Addr:
		if plain(string(id.Data)) {
			return string(id.Data)
		}
	case ikewire.IDKeyID:
		if plain(string(id.Data)) {
			return "keyid:" + string(id.Data)
		}
		return "keyid:0x" + hex.EncodeToString(id.Data)
	case ikewire.IDDERASN1DN:
		var name pkix.RDNSequence
		if rest, err := asn1.Unmarshal(id.Data, &name); err == nil && len(rest) == 0 {
			return name.String()
		}
	}
	return id.String()
}

// plain reports whether a name is what it looks like.
func plain(s string) bool {
	return s != "" && !strings.HasPrefix(s, "0x") && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Equal reports whether two identities are the same, RFC 7296 section 3.5: names of hosts in any case.
func Equal(a, b ikewire.Identification) bool {
	if a.Type == ikewire.IDFQDN && b.Type == ikewire.IDFQDN {
		return strings.EqualFold(string(a.Data), string(b.Data))
	}
	return a.Type == b.Type && bytes.Equal(a.Data, b.Data)
}
