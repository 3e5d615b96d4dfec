//go:build linux

package interop

import (
	"fmt"
	"strings"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// Protocol is what protects a case's packets.
type Protocol uint8

// The protocols.
const (
	ESP Protocol = iota // RFC 4303
	AH                  // RFC 4302
)

func (p Protocol) String() string { return [...]string{"esp", "ah"}[p] }

// Mode is RFC 4301 section 4.1's.
type Mode uint8

// The modes.
const (
	Tunnel Mode = iota
	Transport
)

func (m Mode) String() string { return [...]string{"tunnel", "transport"}[m] }

// Encapsulation is what carries a case's packets.
type Encapsulation uint8

// The encapsulations.
const (
	Native Encapsulation = iota // IP protocol 50 or 51
	UDP                         // RFC 3948, UDP port 4500
)

func (e Encapsulation) String() string { return [...]string{"native", "udp"}[e] }

// Family is an IP version.
type Family uint8

// The IP versions.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// Case is one SA pair and its policies.
type Case struct {
	// Number is the case's place in the matrix, from 1. Addresses and SPIs are made from it.
	Number        int
	Protocol      Protocol
	Mode          Mode
	Inner, Outer  Family // equal but in tunnel mode
	Encapsulation Encapsulation
	Suite         transform.Suite     // ESP
	Integrity     transform.Integrity // AH
	ESN           bool
	// Align8 pads AH over IPv4 to 8 bytes, as Linux does without its align4 flag, instead of RFC 4302's 4.
	Align8 bool
}

// Transform is the name of what protects it, as in a proposal.
func (c Case) Transform() string {
	if c.Protocol == AH {
		return c.Integrity.Name
	}
	return c.Suite.String()
}

// Confidential says whether the packets hide what they carry.
func (c Case) Confidential() bool { return c.Protocol == ESP && c.Suite.Encryption.Confidential() }

// String describes the case: "esp tunnel, IPv6 in IPv4, udp, aes128gcm16, esn".
func (c Case) String() string {
	parts := []string{c.Protocol.String() + " " + c.Mode.String(), c.Families()}
	if c.Protocol == ESP {
		parts = append(parts, c.Encapsulation.String())
	}
	parts = append(parts, c.Transform())
	if c.ESN {
		parts = append(parts, "esn")
	}
	if c.alignable() {
		parts = append(parts, c.alignment())
	}
	return strings.Join(parts, ", ")
}

// Families is "IPv4", or "IPv6 in IPv4" in tunnel mode.
func (c Case) Families() string {
	if c.Mode == Tunnel {
		return fmt.Sprintf("IPv%d in IPv%d", c.Inner, c.Outer)
	}
	return fmt.Sprintf("IPv%d", c.Inner)
}

// alignable says whether the padding of AH is a choice: over IPv6 it is 8 bytes always (RFC 4302 section 3.3.3.2.1).
func (c Case) alignable() bool { return c.Protocol == AH && c.Outer == IPv4 }

func (c Case) alignment() string {
	if c.Align8 {
		return "align 8"
	}
	return "align 4"
}

// Attributes are the case's value in each dimension of the matrix; what does not apply is absent. The transform is
// split into the properties that code depends on, so that a cover of all pairs stays small.
func (c Case) Attributes() map[string]string {
	a := map[string]string{
		"mode": c.Mode.String(), "families": fmt.Sprintf("%d in %d", c.Inner, c.Outer), "esn": fmt.Sprint(c.ESN),
	}
	if c.alignable() {
		a["alignment"] = c.alignment()
	}
	if c.Protocol == AH {
		a["cipher"], a["integrity"] = "ah", c.Integrity.Name
		return a
	}
	e := c.Suite.Encryption
	a["encapsulation"] = c.Encapsulation.String()
	a["cipher"] = cipherName(e)
	if e.KeyBits != 0 {
		a["key"] = fmt.Sprint(e.KeyBits)
	}
	if e.AEAD() {
		a["icv"] = fmt.Sprint(e.ICVLen)
	} else {
		a["integrity"] = c.Suite.Integrity.Name
	}
	return a
}

// cipherName is the algorithm without its lengths.
func cipherName(e transform.Encryption) string {
	switch e.ID {
	case transform.EncrAESGCM8, transform.EncrAESGCM12, transform.EncrAESGCM16:
		return "gcm"
	case transform.EncrAESCCM8, transform.EncrAESCCM12, transform.EncrAESCCM16:
		return "ccm"
	case transform.EncrNullAESGMAC:
		return "gmac"
	case transform.EncrAESCBC:
		return "cbc"
	case transform.EncrAESCTR:
		return "ctr"
	}
	return e.Name
}
