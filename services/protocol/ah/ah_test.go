package ah

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

const testSPI = 0xc0ffee02

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func integrity(t testing.TB, name string) transform.Integrity {
	t.Helper()
	i, err := transform.IntegrityByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func testConfig(i transform.Integrity, esn bool) Config {
	keymat := make(transform.Keymat, i.KeymatLen())
	for n := range keymat {
		keymat[n] = byte(n*11 + 5)
	}
	return Config{SPI: testSPI, Integrity: i, Keymat: keymat, ESN: esn}
}

func newPair(t testing.TB, c Config) (*Sealer, *Opener) {
	t.Helper()
	s, err := NewSealer(c)
	if err != nil {
		t.Fatal(err)
	}
	o, err := NewOpener(c)
	if err != nil {
		t.Fatal(err)
	}
	return s, o
}

func forEachIntegrity(t *testing.T, test func(t *testing.T, c Config)) {
	for _, i := range transform.AHIntegrities() {
		for _, esn := range []bool{false, true} {
			name := i.Name
			if esn {
				name += "-esn"
			}
			t.Run(name, func(t *testing.T) { test(t, testConfig(i, esn)) })
		}
	}
}

// header is an IPv6 extension header: its next header field and its length are filled in.
type header struct {
	kind uint8
	rest []byte // from its third byte; with the first two a multiple of 8
}

func hopByHop(options string) header { return header{ipwire.ProtoHopByHop, []byte(options)} }

func destination(options string) header { return header{ipwire.ProtoDestination, []byte(options)} }

// routing has addresses whose bytes are all the same.
func routing(kind, left byte, addresses ...byte) header {
	rest := []byte{kind, left, 0, 0, 0, 0}
	for _, a := range addresses {
		rest = append(rest, bytes.Repeat([]byte{a}, 16)...)
	}
	return header{ipwire.ProtoRouting, rest}
}

// makeIPv4 returns a datagram with ahLen bytes for an AH at offset at, full of rubbish.
func makeIPv4(options string, ahLen int, payload []byte) (packet []byte, at int) {
	at = ipwire.IPv4MinHeaderLen + len(options)
	packet = append(unhexed("45 b9 0000 1234 4000 3f 33 0000 0a010203 0a040506"), options...)
	packet[0] = 0x40 | byte(at/4)
	packet = append(packet, bytes.Repeat([]byte{0xaa}, ahLen)...)
	packet = append(packet, payload...)
	binary.BigEndian.PutUint16(packet[2:], uint16(len(packet)))
	return packet, at
}

// makeIPv6 returns a datagram with ahLen bytes for an AH at offset at, full of rubbish.
func makeIPv6(headers []header, ahLen int, payload []byte) (packet []byte, at int) {
	packet = unhexed("6b954321 0000 33 3f")
	packet = append(packet, bytes.Repeat([]byte{0x20}, 16)...)
	packet = append(packet, bytes.Repeat([]byte{0x30}, 16)...)
	next := 6
	for _, h := range headers {
		packet[next] = h.kind
		next = len(packet)
		packet = append(packet, ipwire.ProtoAH, byte((len(h.rest)+2)/8-1))
		packet = append(packet, h.rest...)
	}
	at = len(packet)
	packet = append(packet, bytes.Repeat([]byte{0xaa}, ahLen)...)
	packet = append(packet, payload...)
	binary.BigEndian.PutUint16(packet[4:], uint16(len(packet)-ipwire.IPv6HeaderLen))
	return packet, at
}

// unhexed is for literals, whose spaces it skips.
func unhexed(s string) []byte {
	b, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(s), []byte(" "), nil)))
	if err != nil {
		panic(err)
	}
	return b
}

// sealIPv4 and sealIPv6 return a sealed datagram.
func sealIPv4(t testing.TB, s *Sealer, options string, payload []byte) (packet []byte, at int) {
	t.Helper()
	packet, at = makeIPv4(options, s.HeaderLen(4), payload)
	if err := s.Seal(packet, at, ipwire.ProtoUDP); err != nil {
		t.Fatal(err)
	}
	return packet, at
}

func sealIPv6(t testing.TB, s *Sealer, headers []header, payload []byte) (packet []byte, at int) {
	t.Helper()
	packet, at = makeIPv6(headers, s.HeaderLen(6), payload)
	if err := s.Seal(packet, at, ipwire.ProtoUDP); err != nil {
		t.Fatal(err)
	}
	return packet, at
}

// travel makes of a datagram at its source what arrives at its last destination, hop by hop: RFC 791 section
// 3.1 for source routes, whose hops write their own address, 127.0.0.1, into the route; RFC 2460 section 4.4 for
// routing headers. TTL, traffic class and IPv4's checksum change too.
func travel(packet []byte) []byte {
	p := bytes.Clone(packet)
	if p[0]>>4 == 4 {
		for opts := p[20 : p[0]&15*4]; len(opts) > 0 && opts[0] != 0; {
			if opts[0] == 1 {
				opts = opts[1:]
				continue
			}
			for opts[0] == 0x83 || opts[0] == 0x89 {
				at := int(opts[2]) - 1
				if at+4 > int(opts[1]) {
					break
				}
				copy(p[16:20], opts[at:])
				copy(opts[at:], []byte{127, 0, 0, 1})
				opts[2] += 4
			}
			opts = opts[opts[1]:]
		}
		p[1], p[8], p[10], p[11] = 0x45, 1, 0xde, 0xad
		return p
	}
	p[0], p[1], p[7] = 0x60, p[1]&15|0x10, 1
	for kind, at := p[6], 40; kind == 0 || kind == 43 || kind == 60; {
		h := p[at:]
		for kind == 43 && h[3] > 0 {
			n := int(h[1]) / 2
			address := h[8+(n-int(h[3]))*16:][:16]
			dst := bytes.Clone(p[24:40])
			copy(p[24:], address)
			copy(address, dst)
			h[3]--
		}
		kind, at = h[0], at+8+int(h[1])*8
	}
	return p
}
