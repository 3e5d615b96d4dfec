//go:build linux

package interop

import (
	"crypto/rand"
	"net/netip"
)

// End is one of the two ends of a case.
type End uint8

// The ends.
const (
	Ours   End = iota // the agent's
	Theirs            // the kernel's
)

// other is the end at the other side.
func (e End) other() End { return 1 - e }

// The networks of the link, the same for every run: they are in namespaces of their own.
//
//	                         ours            theirs
//	control                  10.255.255.1    10.255.255.2     no policy covers it
//	outer, tunnel mode       10.10.0.1       10.10.0.2        fd10::1     fd10::2
//	inner, tunnel mode       10.20.H.L       10.20.128+H.L    fd20::1:N   fd20::2:N    on lo
//	transport mode           10.30.H.L       10.30.128+H.L    fd30::1:N   fd30::2:N    on the link
//
// N = 256 H + L is the case's number.
const (
	controlPrefix = "/30"
	outerPrefix4  = "/24"
	outerPrefix6  = "/64"
)

func control(e End) netip.Addr { return netip.AddrFrom4([4]byte{10, 255, 255, 1 + byte(e)}) }

func outer(f Family, e End) netip.Addr {
	if f == IPv4 {
		return netip.AddrFrom4([4]byte{10, 10, 0, 1 + byte(e)})
	}
	return netip.AddrFrom16([16]byte{0: 0xfd, 1: 0x10, 15: 1 + byte(e)})
}

// own is a case's own address in one of the networks 20 (inner) and 30 (transport mode).
func own(network byte, f Family, number int, e End) netip.Addr {
	high, low := byte(number>>8), byte(number)
	if f == IPv4 {
		return netip.AddrFrom4([4]byte{10, network, high + 128*byte(e), low})
	}
	second := map[byte]byte{20: 0x20, 30: 0x30}[network]
	return netip.AddrFrom16([16]byte{0: 0xfd, 1: second, 13: 1 + byte(e), 14: high, 15: low})
}

// Address is the address that talks at one end of a case.
func (c Case) Address(e End) netip.Addr {
	if c.Mode == Tunnel {
		return own(20, c.Inner, c.Number, e)
	}
	return own(30, c.Inner, c.Number, e)
}

// OuterAddress is the address in the header before ESP or AH.
func (c Case) OuterAddress(e End) netip.Addr {
	if c.Mode == Tunnel {
		return outer(c.Outer, e)
	}
	return c.Address(e)
}

// port4500 is RFC 3948's UDP port.
const port4500 = 4500

// Keyed is a case with its keys; the SA towards an end has that end's SPI and key.
type Keyed struct {
	Case
	SPI [2]uint32
	Key [2][]byte
}

// WithKeys gives a case SPIs made of its number, and random keys.
func WithKeys(c Case) Keyed {
	k := Keyed{Case: c}
	for _, e := range []End{Ours, Theirs} {
		k.SPI[e] = 0x51000000 + uint32(e)<<24 + uint32(c.Number)
		k.Key[e] = make([]byte, c.keymatLen())
		rand.Read(k.Key[e])
	}
	return k
}
