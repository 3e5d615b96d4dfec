package dn

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// keywords of RFC 4514 section 3, and those that openssl and strongSwan write.
func keywords() map[string]string {
	return map[string]string{
		"CN": "2.5.4.3", "SN": "2.5.4.4", "SERIALNUMBER": "2.5.4.5", "C": "2.5.4.6", "L": "2.5.4.7",
		"ST": "2.5.4.8", "STREET": "2.5.4.9", "O": "2.5.4.10", "OU": "2.5.4.11", "TITLE": "2.5.4.12",
		"GN": "2.5.4.42", "UID": "0.9.2342.19200300.100.1.1", "DC": "0.9.2342.19200300.100.1.25",
		"EMAILADDRESS": "1.2.840.113549.1.9.1",
	}
}

func keyword(oid string) string {
	for k, v := range keywords() {
		if v == oid {
			return k
		}
	}
	return oid
}

// String returns the name as RFC 4514 text, most significant RDN last.
func (n Name) String() string { return text(n, nil) }

// text writes a name; stars says which attributes are "*", in the order of name.
func text(n Name, stars map[[2]int]bool) string {
	var b strings.Builder
	for i := len(n) - 1; i >= 0; i-- {
		for j, a := range n[i] {
			if j > 0 {
				b.WriteByte('+')
			}
			b.WriteString(keyword(a.Type) + "=")
			if stars[[2]int{i, j}] {
				b.WriteByte('*')
			} else {
				b.WriteString(escape(a.Value))
			}
		}
		if i > 0 {
			b.WriteByte(',')
		}
	}
	return b.String()
}

// escape is RFC 4514 section 2.4, and the star besides.
func escape(value string) string {
	if strings.HasPrefix(value, "#") {
		return value
	}
	var b strings.Builder
	for i, r := range value {
		switch {
		case r == '*':
			b.WriteString(`\2A`)
			continue
		case strings.ContainsRune(`"+,;<>\=`, r), r == ' ' && (i == 0 || i == len(value)-1):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// DER returns the name in DER: countryName, serialNumber and dnQualifier as PrintableString, emailAddress
// and domainComponent as IA5String, all else as UTF8String. Error: ErrName.
func (n Name) DER() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, rdn := range n {
			b.AddASN1(cbasn1.SET, rdn.add)
		}
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrName, err)
	}
	return der, nil
}

// add writes the attributes in DER's order of a SET OF, which is that of their bytes.
func (r RDN) add(b *cryptobyte.Builder) {
	var all [][]byte
	for _, a := range r {
		var one cryptobyte.Builder
		one.AddASN1(cbasn1.SEQUENCE, a.add)
		der, err := one.Bytes()
		if err != nil {
			b.SetError(err)
			return
		}
		all = append(all, der)
	}
	slices.SortFunc(all, bytes.Compare)
	for _, der := range all {
		b.AddBytes(der)
	}
}

func (a Attribute) add(b *cryptobyte.Builder) {
	var oid asn1.ObjectIdentifier
	for part := range strings.SplitSeq(a.Type, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			b.SetError(fmt.Errorf("attribute type %q", a.Type))
			return
		}
		oid = append(oid, n)
	}
	b.AddASN1ObjectIdentifier(oid)
	if raw, ok := strings.CutPrefix(a.Value, "#"); ok {
		der, err := hex.DecodeString(raw)
		if err != nil {
			b.SetError(err)
			return
		}
		b.AddBytes(der)
		return
	}
	b.AddASN1(stringTag(a.Type), func(b *cryptobyte.Builder) { b.AddBytes([]byte(a.Value)) })
}

func stringTag(oid string) cbasn1.Tag {
	switch keyword(oid) {
	case "C", "SERIALNUMBER", "2.5.4.46":
		return cbasn1.PrintableString
	case "DC", "EMAILADDRESS":
		return cbasn1.IA5String
	}
	return cbasn1.UTF8String
}
