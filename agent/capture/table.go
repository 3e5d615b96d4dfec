package capture

import (
	"encoding/hex"
	"fmt"
	"io"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// Names of algorithms in Wireshark's table "ESP SAs" (esp_sa in a profile's directory).
const (
	wiresharkNull = "NULL"
	wiresharkAny  = "ANY" // of an ICV that is only skipped, not checked
)

// WriteTable writes the SAs as Wireshark's esp_sa table reads them: one line each. SAs whose transforms Wireshark
// does not know are left out and returned; AH needs no table.
func WriteTable(w io.Writer, sas []datapath.KeyedSA) (unknown []datapath.KeyedSA, err error) {
	if _, err := fmt.Fprintln(w, "# ESP SAs: copy this file to esp_sa in Wireshark's profile directory"); err != nil {
		return nil, err
	}
	for _, sa := range sas {
		if sa.SA.Protocol == datapath.AH {
			continue
		}
		line, ok := TableLine(sa)
		if !ok {
			unknown = append(unknown, sa)
			continue
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return unknown, err
		}
	}
	return unknown, nil
}

// TableLine is one SA's line; false if Wireshark does not know its transforms, or the key is not there.
func TableLine(sa datapath.KeyedSA) (string, bool) {
	suite, err := suiteOf(sa.SA.Transform)
	if err != nil || len(sa.SA.Key) != suite.KeymatLen() {
		return "", false
	}
	encryption, integrity, ok := wiresharkNames(suite)
	if !ok {
		return "", false
	}
	family := "IPv4"
	if sa.Remote.Is6() {
		family = "IPv6"
	}
	n := suite.Encryption.KeymatLen()
	// Addresses are left open, for NAT may change them: the SPI is enough.
	line := fmt.Sprintf(`"%s","*","*","0x%08x","%s","%s","%s","%s"`, family, sa.SA.SPI, encryption,
		hexKey(sa.SA.Key[:n]), integrity, hexKey(sa.SA.Key[n:]))
	if sa.SA.ESN {
		line += `,"64-bit","0"` // newer versions have these columns, others skip them with a warning
	}
	return line, true
}

func hexKey(key []byte) string {
	if len(key) == 0 {
		return ""
	}
	return "0x" + hex.EncodeToString(key)
}

func suiteOf(t datapath.Transform) (transform.Suite, error) {
	e, err := transform.InsecureByID(t.ID, t.KeyBits)
	if err != nil {
		return transform.Suite{}, err
	}
	i, err := transform.IntegrityByID(t.Integrity)
	return transform.Suite{Encryption: e, Integrity: i}, err
}

// wiresharkNames are the table's words for a suite, as of Wireshark 4.0.
func wiresharkNames(s transform.Suite) (encryption, integrity string, ok bool) {
	integrity = wiresharkNull
	switch s.Encryption.ID {
	case transform.EncrNull:
		encryption = wiresharkNull
	case transform.Encr3DES:
		encryption = "TripleDES-CBC [RFC2451]"
	case transform.EncrAESCBC:
		encryption = "AES-CBC [RFC3602]"
	case transform.EncrAESCTR:
		encryption = "AES-CTR [RFC3686]"
	case transform.EncrAESGCM16:
		encryption = "AES-GCM with 16 octet ICV [RFC4106]"
	case transform.EncrAESGCM12:
		encryption = "AES-GCM with 12 octet ICV [RFC4106]"
	case transform.EncrAESGCM8:
		encryption = "AES-GCM with 8 octet ICV [RFC4106]"
	default:
		return "", "", false
	}
	switch s.Integrity.ID {
	case transform.IntegNone:
	case transform.IntegHMACSHA1_96:
		integrity = "HMAC-SHA-1-96 [RFC2404]"
	case transform.IntegHMACSHA2_256_128:
		integrity = "HMAC-SHA-256-128 [RFC4868]"
	case transform.IntegHMACSHA2_384_192:
		integrity = "HMAC-SHA-384-192 [RFC4868]"
	case transform.IntegHMACSHA2_512_256:
		integrity = "HMAC-SHA-512-256 [RFC4868]"
	default:
		// Wireshark cannot check this MAC, but it can skip it.
		integrity = fmt.Sprintf("%s %d bit authentication [no checking]", wiresharkAny, s.Integrity.ICVLen*8)
	}
	return encryption, integrity, true
}
