package ipseckey

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/crypto/cryptobyte"
)

// ErrRecord: the data of an IPSECKEY record is not well-formed.
var ErrRecord = errors.New("bad IPSECKEY record")

// Algorithm is IANA's "IPSECKEY Resource Record Algorithm Type".
type Algorithm uint8

// Algorithms.
const (
	NoKey Algorithm = 0 // RFC 4025 section 2.6
	DSA   Algorithm = 1 // RFC 4025
	RSA   Algorithm = 2 // RFC 4025, key of RFC 3110
	ECDSA Algorithm = 3 // key of RFC 6605
	EdDSA Algorithm = 4 // RFC 9373, key of RFC 8080
)

// GatewayType says what the gateway field holds, RFC 4025 section 2.3.
type GatewayType uint8

// Gateway types.
const (
	NoGateway   GatewayType = 0
	IPv4Gateway GatewayType = 1
	IPv6Gateway GatewayType = 2
	NameGateway GatewayType = 3
)

// Record is the data of one IPSECKEY record, RFC 4025 section 2.1:
//
//	precedence(8) gateway type(8) algorithm(8) gateway(0, 32, 128 bits or a name) public key
type Record struct {
	Precedence uint8
	Type       GatewayType
	Algorithm  Algorithm
	Addr       netip.Addr // the gateway of types 1 and 2
	Name       string     // the gateway of type 3, lower case, without the final dot
	PublicKey  []byte     // in the algorithm's format
}

const maxKeyBytes = 4 + 2*1024 // RSA of 8192 bits with an exponent as long

// ParseRecord reads a record's data. The result shares no memory with it. Error: ErrRecord.
func ParseRecord(data []byte) (Record, error) {
	s := cryptobyte.String(data)
	var r Record
	if !s.ReadUint8(&r.Precedence) || !s.ReadUint8((*uint8)(&r.Type)) || !s.ReadUint8((*uint8)(&r.Algorithm)) {
		return Record{}, fmt.Errorf("%w: %d bytes", ErrRecord, len(data))
	}
	if err := r.readGateway(&s); err != nil {
		return Record{}, err
	}
	if len(s) > maxKeyBytes {
		return Record{}, fmt.Errorf("%w: key of %d bytes, at most %d are read", ErrRecord, len(s), maxKeyBytes)
	}
	if (len(s) == 0) != (r.Algorithm == NoKey) {
		return Record{}, fmt.Errorf("%w: algorithm %d with a key of %d bytes", ErrRecord, r.Algorithm, len(s))
	}
	r.PublicKey = append([]byte(nil), s...)
	return r, nil
}

func (r *Record) readGateway(s *cryptobyte.String) error {
	var raw []byte
	switch r.Type {
	case NoGateway:
		return nil
	case IPv4Gateway, IPv6Gateway:
		n := 4
		if r.Type == IPv6Gateway {
			n = 16
		}
		if !s.ReadBytes(&raw, n) {
			return fmt.Errorf("%w: it ends in the gateway's address", ErrRecord)
		}
		r.Addr, _ = netip.AddrFromSlice(raw)
		return nil
	case NameGateway:
		name, ok := readName(s)
		if !ok {
			return fmt.Errorf("%w: the gateway is no uncompressed name", ErrRecord)
		}
		r.Name = name
		return nil
	}
	return fmt.Errorf("%w: gateway type %d", ErrRecord, r.Type)
}

// readName reads a wire-encoded name, which RFC 4025 section 2.5 forbids to compress. A label with a dot or
// with bytes that no host name has makes the name unreadable: it could pass for another one.
func readName(s *cryptobyte.String) (string, bool) {
	var labels []string
	for total := 0; ; {
		var label cryptobyte.String
		if !s.ReadUint8LengthPrefixed(&label) || len(label) > 63 {
			return "", false
		}
		if total += len(label) + 1; total > 255 {
			return "", false
		}
		if len(label) == 0 {
			return strings.Join(labels, "."), true
		}
		if !isLabel(string(label)) {
			return "", false
		}
		labels = append(labels, strings.ToLower(string(label)))
	}
}

func isLabel(s string) bool {
	return s != "" && len(s) <= 63 && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	})
}
