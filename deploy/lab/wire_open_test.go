//go:build linux

package lab

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// espDatagram is what testdata/open_esp.py tells of one datagram.
type espDatagram struct {
	Outer          int
	SPI, Seq       uint32
	IV, ICV        string
	Kind, Src, Dst string
	Payload        string
}

// scapy opens the capture with these keys.
func (r *wireRun) scapy(keys []wireKey) []espDatagram {
	r.t.Helper()
	var text strings.Builder
	for _, k := range keys {
		fmt.Fprintln(&text, k.spi, k.encryption, k.keymat)
	}
	file := r.Path("keys.scapy")
	r.must(os.WriteFile(file, []byte(text.String()), 0o600))
	// Debian's own Python has Debian's scapy.
	out := r.output(exec.CommandContext(r.ctx, "/usr/bin/python3", "testdata/open_esp.py", r.capture, file))
	var datagrams []espDatagram
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var e espDatagram
		r.must(d.Decode(&e))
		datagrams = append(datagrams, e)
	}
	return datagrams
}

func (r *wireRun) output(cmd *exec.Cmd) []byte {
	r.t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("%v: %v: %s", cmd.Args[0], err, stderr.String())
	}
	return out
}

// openedByScapy: every ESP packet's ICV verifies, and inside is what was sent. Per association the
// sequence numbers are 1, 2, 3 and so on, in the order of the wire, and no IV comes twice.
func (r *wireRun) openedByScapy() {
	r.t.Helper()
	kinds, last := map[string]int{}, map[uint32]uint32{}
	ivs := map[string]bool{}
	var inner []innerPacket
	for n, d := range r.scapy(r.keys) {
		if want := map[bool]int{false: 4, true: 6}[r.outerIPv6]; d.Outer != want {
			r.t.Errorf("datagram %d is in IPv%d, want IPv%d", n, d.Outer, want)
		}
		kinds[d.Kind]++
		if d.Kind == "keepalive" {
			continue
		}
		if d.ICV != "good" {
			r.t.Fatalf("datagram %d, SPI %#08x, sequence number %d: ICV is %q, kind %q", n, d.SPI, d.Seq, d.ICV, d.Kind)
		}
		if d.Seq != last[d.SPI]+1 {
			r.t.Errorf("SPI %#08x: sequence number %d after %d", d.SPI, d.Seq, last[d.SPI])
		}
		last[d.SPI] = d.Seq
		if id := fmt.Sprint(d.SPI, d.IV); ivs[id] {
			r.t.Errorf("SPI %#08x: IV %s comes twice", d.SPI, d.IV)
		} else {
			ivs[id] = true
		}
		if d.Kind == "dummy" {
			continue
		}
		payload, err := hex.DecodeString(d.Payload)
		r.must(err)
		inner = append(inner, innerPacket{d.Kind, d.Src, d.Dst, payload})
	}
	r.t.Logf("scapy: every ICV is good; %v", kinds)
	r.checkInner("scapy", inner)
}

// tsharkFields are asked of tshark for each packet. Where a packet has a field twice, the inner one is last.
var tsharkFields = []string{
	"esp.spi", "esp.protocol", "esp.pad", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst",
	"icmp.type", "icmpv6.type", "data.data", "tcp.payload", "tcp.srcport", "_ws.malformed",
}

// tshark dissects the capture's ESP packets with these keys: a map per packet, the outer header's
// addresses before the inner one's.
func (r *wireRun) tshark(keys []wireKey) []map[string][]string {
	r.t.Helper()
	args := []string{"-n", "-r", r.capture, "-Y", "esp", "-T", "fields", "-E", "separator=|", "-E", "aggregator=;", "-o", "esp.enable_encryption_decode:TRUE"}
	for _, k := range keys {
		for _, family := range []string{"IPv4", "IPv6"} {
			// The last two columns are the sequence number's length and high half: this version
			// has no such columns and says so, later ones need them.
			args = append(args, "-o", fmt.Sprintf(`uat:esp_sa:"%s","*","*","%s","AES-GCM with 16 octet ICV [RFC4106]","%s","NULL","","64-bit","0"`, family, k.spi, k.keymat))
		}
	}
	for _, f := range tsharkFields {
		args = append(args, "-e", f)
	}
	cmd := exec.CommandContext(r.ctx, "tshark", args...)
	cmd.Env = append(os.Environ(), "HOME="+r.Dir(), "XDG_CONFIG_HOME="+r.Dir()) // no user's preferences
	var packets []map[string][]string
	for line := range strings.Lines(string(r.output(cmd))) {
		p := map[string][]string{}
		for i, value := range strings.Split(strings.TrimSuffix(line, "\n"), "|") {
			if value != "" {
				p[tsharkFields[i]] = strings.Split(value, ";")
			}
		}
		packets = append(packets, p)
	}
	if len(packets) == 0 {
		r.t.Fatal("tshark found no ESP in the capture")
	}
	return packets
}

// dummyPlaintext is a dummy packet, decrypted: no payload, two octets of padding, their number, next
// header 59. No dissector is registered for 59, so tshark shows it as it is.
const dummyPlaintext = "0102023b"

// openedByTshark: tshark's dissectors find what was sent, and RFC 4303's padding.
func (r *wireRun) openedByTshark() {
	r.t.Helper()
	dummies := 0
	var packets []innerPacket
	for n, p := range r.tshark(r.keys) {
		switch {
		case p["_ws.malformed"] != nil:
			r.t.Errorf("packet %d is malformed: %v", n, p)
		case p["esp.protocol"] == nil && last(p["data.data"]) == dummyPlaintext:
			dummies++
			continue
		case p["esp.protocol"] == nil:
			r.t.Fatalf("packet %d was not opened: %v", n, p)
		}
		// RFC 4303 section 2.4: the padding is 1, 2, 3, ...
		if pad := last(p["esp.pad"]); !strings.HasPrefix("010203", strings.ReplaceAll(pad, ":", "")) {
			r.t.Errorf("packet %d is padded with %s", n, pad)
		}
		packets = append(packets, r.innerOf(p))
	}
	r.t.Logf("tshark: %d packets and %d dummies opened", len(packets), dummies)
	r.checkInner("tshark", packets)
}

// innerOf is the packet that tshark found in the tunnel.
func (r *wireRun) innerOf(p map[string][]string) innerPacket {
	in := innerPacket{src: last(p["ip.src"]), dst: last(p["ip.dst"])}
	if inside6 := last(p["esp.protocol"]); inside6 == "41" || inside6 == "0x29" {
		in.src, in.dst = last(p["ipv6.src"]), last(p["ipv6.dst"])
	}
	payload := last(p["data.data"])
	switch {
	case p["icmp.type"] != nil:
		in.kind = "icmp " + last(p["icmp.type"])
	case p["icmpv6.type"] != nil:
		in.kind = "icmpv6 " + last(p["icmpv6.type"])
	case p["tcp.srcport"] != nil:
		in.kind, payload = "tcp", last(p["tcp.payload"])
	}
	var err error
	in.payload, err = hex.DecodeString(strings.ReplaceAll(payload, ":", ""))
	r.must(err)
	return in
}

func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// wrongKeysOpenNothing: with one byte of each key changed the same checks would fail.
func (r *wireRun) wrongKeysOpenNothing() {
	r.t.Helper()
	for n, d := range r.scapy(r.wrongKeys()) {
		if d.Kind != "keepalive" && d.ICV != "bad" {
			r.t.Fatalf("datagram %d: the ICV is %q under a wrong key", n, d.ICV)
		}
	}
	if r.proposal == chacha {
		return
	}
	for n, p := range r.tshark(r.wrongKeys()) {
		if in := r.innerOf(p); wirePeriods(in.payload) > 0 || in.src == r.overlay[1][0].String() || in.src == r.overlay[2][0].String() {
			r.t.Fatalf("packet %d was opened with a wrong key: %v", n, in)
		}
	}
}
