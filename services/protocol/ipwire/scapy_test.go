package ipwire

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
)

// scapyLines calls use with the fields of each line of one kind in testdata/scapy.txt.
func scapyLines(t *testing.T, kind string, atLeast int, use func(name string, fields []string)) {
	t.Helper()
	f, err := os.Open("testdata/scapy.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, lines := 0, bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); fields[0] == kind {
			use(fields[1], fields[2:])
			n++
		}
	}
	if lines.Err() != nil || n < atLeast {
		t.Fatalf("%d lines of %s, %v", n, kind, lines.Err())
	}
}

// TestChecksumsOfScapy: a packet's checksum becomes that of the translated one, made anew or adjusted; a damaged
// packet is repaired, but not by adjusting.
func TestChecksumsOfScapy(t *testing.T) {
	scapyLines(t, "checksum", 60, func(name string, f []string) {
		packet, want := unhex(t, f[0]), unhex(t, f[1])
		was, err := ParseFlow(packet)
		if err != nil {
			t.Fatal(name, err)
		}
		now, err := ParseFlow(want)
		if err != nil {
			t.Fatal(name, err)
		}
		moved := translated(packet, now.Src)
		repaired := bytes.Clone(moved)
		if err := RepairChecksum(repaired); err != nil || !bytes.Equal(repaired, want) {
			t.Errorf("%s repaired: %v\n% x\n% x", name, err, repaired, want)
		}
		adjusted := bytes.Clone(moved)
		if err := AdjustChecksum(adjusted, was.Src, was.Dst); err != nil || !bytes.Equal(adjusted, want) {
			t.Errorf("%s adjusted: %v\n% x\n% x", name, err, adjusted, want)
		}
		for _, p := range [][]byte{packet, want} { // nothing to do
			for _, change := range []func([]byte) error{RepairChecksum, func(b []byte) error { return AdjustChecksum(b, was.Src, was.Dst) }} {
				same := bytes.Clone(p)
				if err := change(same); err != nil || bytes.Equal(p, packet) && !bytes.Equal(same, p) {
					t.Errorf("%s was right: %v\n% x\n% x", name, err, same, p)
				}
			}
		}
		field, _, _, proto, err := checksumAt(moved)
		if err != nil {
			t.Fatal(name, err)
		}
		damaged := bytes.Clone(moved)
		if proto == ProtoUDP {
			damaged[field-3] ^= 0x40 // a port
		} else {
			damaged[field-1] ^= 0x40 // TCP's window, or ICMPv6's code
		}
		if err := AdjustChecksum(damaged, was.Src, was.Dst); err != nil || !bytes.Equal(damaged[field:field+2], want[field:field+2]) {
			t.Errorf("%s: a damaged packet: %v", name, err)
		}
	})
}

func TestTooBigOfScapy(t *testing.T) {
	scapyLines(t, "toobig", 19, func(name string, f []string) {
		mtu, _ := strconv.Atoi(f[0])
		packet, want := unhex(t, f[1]), unhex(t, f[2])
		got, ok := AppendTooBig(nil, append(bytes.Clone(packet), "padding"...), mtu)
		if !ok || !bytes.Equal(got, want) {
			t.Errorf("%s: %v\n% x\n% x", name, ok, got, want)
		}
		about, err1 := ParseFlow(packet)
		e, err2 := ParseICMPError(want)
		quoted, err3 := e.QuotedFlow()
		if err1 != nil || err2 != nil || err3 != nil || e.MTU != mtu || quoted != about || !bytes.HasPrefix(packet, e.Quoted) {
			t.Errorf("%s: MTU %d, %+v, %v, %v, %v", name, e.MTU, quoted, err1, err2, err3)
		}
		for n := range want { // cut messages, and messages with a cut quote
			if _, err := ParseICMPError(want[:n]); err == nil {
				t.Fatalf("%s: %d bytes were enough", name, n)
			}
		}
		for n := range e.Quoted {
			flow, err := ICMPError{Quoted: e.Quoted[:n]}.QuotedFlow()
			if needs := flowNeeds(packet); (err == nil) != (n >= needs) || err == nil && flow != about {
				t.Fatalf("%s: quote of %d bytes of %d that are needed: %+v, %v", name, n, needs, flow, err)
			}
		}
	})
}

// flowNeeds is how much of a UDP packet of scapy.txt has the ports.
func flowNeeds(packet []byte) int {
	switch {
	case packet[0]>>4 == 4:
		return 20 + 4
	default:
		return 40 + 8 + 4 // each has one extension header
	}
}

func TestECNOfScapy(t *testing.T) {
	scapyLines(t, "ecn", 96, func(name string, f []string) {
		ecn, _ := strconv.Atoi(f[0])
		packet, want := unhex(t, f[1]), unhex(t, f[2])
		SetECN(packet, uint8(ecn)|0xa4) // the DSCP bits are not for it to set
		if !bytes.Equal(packet, want) {
			t.Errorf("%s: % x, % x", name, packet, want)
		}
	})
}
