package ikewire

import (
	"fmt"
	"net/netip"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
)

// IDType is IANA's "IKEv2 Identification Payload ID Types", RFC 7296 section 3.5.
type IDType uint8

// ID types.
const (
	IDIPv4Addr   IDType = 1  // 4 bytes
	IDFQDN       IDType = 2  // ASCII, no terminator
	IDRFC822Addr IDType = 3  // UTF-8, no terminator
	IDIPv6Addr   IDType = 5  // 16 bytes
	IDDERASN1DN  IDType = 9  // DER of an X.500 Distinguished Name
	IDDERASN1GN  IDType = 10 // DER of an X.509 GeneralName
	IDKeyID      IDType = 11 // opaque
	IDFCName     IDType = 12 // RFC 4595
	IDNull       IDType = 13 // RFC 7619: empty
)

// String returns IANA's name.
func (t IDType) String() string {
	switch t {
	case IDIPv4Addr:
		return "ID_IPV4_ADDR"
	case IDFQDN:
		return "ID_FQDN"
	case IDRFC822Addr:
		return "ID_RFC822_ADDR"
	case IDIPv6Addr:
		return "ID_IPV6_ADDR"
	case IDDERASN1DN:
		return "ID_DER_ASN1_DN"
	case IDDERASN1GN:
		return "ID_DER_ASN1_GN"
	case IDKeyID:
		return "ID_KEY_ID"
	case IDFCName:
		return "ID_FC_NAME"
	case IDNull:
		return "ID_NULL"
	}
	return fmt.Sprintf("ID type %d", uint8(t))
}

// Identification is what IDi and IDr hold.
type Identification struct {
	Type IDType // RFC 7296 section 3.5
	Data []byte // 3.5; its form is checked for the types that have one

	reserved [3]byte // 3.5: no meaning, but AUTH covers it
}

// IDi is the initiator's Identification payload.
type IDi struct{ Identification }

// IDr is the responder's Identification payload.
type IDr struct{ Identification }

// PayloadType returns PayloadIDi.
func (IDi) PayloadType() PayloadType { return PayloadIDi }

// PayloadType returns PayloadIDr.
func (IDr) PayloadType() PayloadType { return PayloadIDr }

// Body returns the payload without its generic header, exactly as it was received:
// RestOfInitIDPayload and RestOfRespIDPayload of RFC 7296 section 2.15.
func (id Identification) Body() []byte {
	b := append([]byte{uint8(id.Type)}, id.reserved[:]...)
	return append(b, id.Data...)
}

// Addr returns the address of an IPv4 or IPv6 identity.
func (id Identification) Addr() (netip.Addr, bool) {
	if id.Type != IDIPv4Addr && id.Type != IDIPv6Addr {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(id.Data)
}

// String returns the type and the identity, quoted, in hexadecimal where it is no text.
func (id Identification) String() string {
	if a, ok := id.Addr(); ok {
		return fmt.Sprintf("%s %s", id.Type, a)
	}
	switch id.Type {
	case IDFQDN, IDRFC822Addr:
		return fmt.Sprintf("%s %q", id.Type, id.Data)
	case IDNull:
		return id.Type.String()
	}
	return fmt.Sprintf("%s %x", id.Type, id.Data)
}

func parseIdentification(s cryptobyte.String) (Identification, error) {
	var id Identification
	var kind uint8
	if !s.ReadUint8(&kind) || !s.CopyBytes(id.reserved[:]) {
		return Identification{}, ErrTruncated
	}
	id.Type, id.Data = IDType(kind), free(s)
	return id, nil
}

func (id Identification) check() error {
	n := len(id.Data)
	ok := true
	switch id.Type {
	case IDIPv4Addr:
		ok = n == 4
	case IDIPv6Addr:
		ok = n == 16
	case IDNull:
		ok = n == 0
	case IDFQDN, IDRFC822Addr, IDDERASN1DN, IDDERASN1GN, IDKeyID:
		ok = n > 0
	}
	if !ok {
		return fmt.Errorf("%w: %s of %d bytes", ErrLength, id.Type, n)
	}
	if id.Type == IDFQDN && !printable(id.Data, unicode.MaxASCII) ||
		id.Type == IDRFC822Addr && !printable(id.Data, unicode.MaxRune) {
		return fmt.Errorf("%w: %s %q", ErrValue, id.Type, id.Data)
	}
	return nil
}

// printable refuses what RFC 7296 section 3.5 calls terminators, and all else that a
// name can hide behind.
func printable(b []byte, limit rune) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 || r > limit || !unicode.IsPrint(r) {
			return false
		}
		b = b[n:]
	}
	return true
}

func (id Identification) appendBody(b []byte) []byte {
	return append(append(b, uint8(id.Type), 0, 0, 0), id.Data...)
}
