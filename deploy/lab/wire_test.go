//go:build linux

package lab

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// wirePattern is what every payload of the wire tests is made of.
var wirePattern = []byte("sallyport-wire!?")

// chacha is the proposal that Debian 12's tshark does not know.
const chacha = "chacha20poly1305"

// How much each wire test sends.
const (
	wirePings = 5
	wireBytes = 256 << 10
)

// wireRun is a fleet of two hosts, all that crossed its underlay, and the keys.
//
//	host-1 ── br0 (captured whole) ── host-2      keys: exported by agents built for tests
type wireRun struct {
	*e2e
	proposal  string
	overlay   [3][]netip.Addr // by host
	capture   string
	keys      []wireKey
	spis      map[string]bool
	outerIPv6 bool
}

// TestWireFormat: what crosses the underlay is RFC 4303 ESP in RFC 3948 UDP, as two implementations see
// it that know nothing of this one.
//
// tshark dissects the packets. Debian 12's (4.0) opens AES-GCM, cannot check an ICV over an extended
// sequence number, and does not know ChaCha20-Poly1305. So scapy opens the packets of every cipher and
// checks each ICV, with the 64-bit number in the associated data.
func TestWireFormat(t *testing.T) {
	for _, c := range []struct {
		name, proposal string
		ipv6           bool
	}{
		{"aes128gcm16", "aes128gcm16", false},
		{"aes256gcm16", "aes256gcm16", false},
		{chacha, chacha, false},
		{"aes256gcm16 over IPv6", "aes256gcm16", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newWireRun(t, c.proposal, c.ipv6)
			r.send()
			r.collect()
			r.nothingReadable()
			r.openedByScapy()
			if c.proposal != chacha {
				r.openedByTshark()
			}
			r.wrongKeysOpenNothing()
		})
	}
}

func newWireRun(t *testing.T, proposal string, ipv6 bool) *wireRun {
	t.Helper()
	binaries(t)
	if err := checkTools(map[string]string{"tshark": "tshark", "scapy3": "python3-scapy"}); err != nil {
		t.Skip(err)
	}
	return &wireRun{e2e: newE2E(t, Config{Hosts: 2, IPv6: ipv6}), proposal: proposal, outerIPv6: ipv6}
}

// send records the underlay, brings the fleet up and sends the pattern in every way.
func (r *wireRun) send() {
	r.t.Helper()
	capture, err := r.Capture(r.ctx, "wire")
	r.must(err)
	for i := 1; i <= 2; i++ {
		// A link that takes a run of datagrams whole would show it to the capture as one: a wire never does.
		_, err := r.Exec(r.ctx, HostName(i), "ip", "link", "set", "dev", "eth0", "gso_max_segs", "1")
		r.must(err)
		r.must(r.StartAgentWith(i, r.token("--host", HostName(i)), []string{"SALLYPORT_TEST_EXPORT_KEYS=" + r.Path("keys")}))
	}
	_, err = r.Apply(r.ctx, "mesh", MeshPolicy+"  proposal: "+r.proposal+"\n")
	r.must(err)
	r.up()
	for i := 1; i <= 2; i++ {
		r.overlay[i], err = r.Overlay(r.ctx, i)
		r.must(err)
	}
	for i := 1; i <= 2; i++ {
		for _, addr := range r.overlay[3-i] {
			out, err := r.Exec(r.ctx, HostName(i), "ping", "-n", "-i", "0.5", "-c", fmt.Sprint(wirePings),
				"-s", "200", "-p", hex.EncodeToString(wirePattern), addr.String())
			r.must(err)
			if !strings.Contains(out, fmt.Sprintf("%d packets transmitted, %d received", wirePings, wirePings)) {
				r.t.Errorf("ping %s: %s", addr, out)
			}
		}
	}
	for _, addr := range r.overlay[2] {
		r.must(r.sendTCP(1, 2, addr))
	}
	r.must(capture.Stop())
	r.capture = capture.File
}

// sendTCP moves wireBytes of the pattern from one host to another, and checks what arrives.
func (r *wireRun) sendTCP(from, to int, addr netip.Addr) error {
	var listener *net.TCPListener
	var client net.Conn
	err := r.within(HostName(to), func() (err error) {
		listener, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	})
	if err != nil {
		return err
	}
	defer listener.Close()
	err = r.within(HostName(from), func() (err error) {
		client, err = net.DialTCP("tcp", nil, listener.Addr().(*net.TCPAddr))
		return err
	})
	if err != nil {
		return err
	}
	defer client.Close()
	deadline := time.Now().Add(30 * time.Second)
	if err := errors.Join(client.SetDeadline(deadline), listener.SetDeadline(deadline)); err != nil {
		return err
	}
	sent := bytes.Repeat(wirePattern, wireBytes/len(wirePattern))
	written := make(chan error, 1)
	go func() {
		_, err := client.Write(sent)
		written <- errors.Join(err, client.(*net.TCPConn).CloseWrite())
	}()
	server, err := listener.Accept()
	if err != nil {
		return err
	}
	defer server.Close()
	if err := server.SetDeadline(deadline); err != nil {
		return err
	}
	got, err := io.ReadAll(server)
	if err == nil && !bytes.Equal(got, sent) {
		err = fmt.Errorf("%s: %d bytes arrived, not what was sent", addr, len(got))
	}
	return errors.Join(err, <-written)
}

// collect reads the exported keys: one association in each direction, told by both of its ends.
func (r *wireRun) collect() {
	r.t.Helper()
	var err error
	r.keys, err = readWireKeys(r.Path("keys"))
	r.must(err)
	r.spis = map[string]bool{}
	for _, k := range r.keys {
		if k.encryption != r.proposal {
			r.t.Errorf("SPI %s is %s, the policy says %s", k.spi, k.encryption, r.proposal)
		}
		r.spis[k.spi] = true
	}
	if len(r.spis) != 2 || len(r.keys) != 4 {
		r.t.Fatalf("%d keys of %d associations, want 4 of 2", len(r.keys), len(r.spis))
	}
}

// nothingReadable: neither the pattern nor a key is anywhere in the capture.
func (r *wireRun) nothingReadable() {
	r.t.Helper()
	raw, err := os.ReadFile(r.capture)
	r.must(err)
	for _, k := range r.keys {
		// The control: what does cross in clear is found.
		if spi, _ := hex.DecodeString(k.spi[2:]); !bytes.Contains(raw, spi) {
			r.t.Errorf("SPI %s is not in the capture", k.spi)
		}
		if key, _ := hex.DecodeString(k.keymat[2:]); bytes.Contains(raw, key) {
			r.t.Errorf("the key of SPI %s crossed the underlay", k.spi)
		}
	}
	if bytes.Contains(raw, wirePattern) {
		r.t.Error("the payload crossed the underlay in clear")
	}
}

// wireKey is one line of the exported keys.
type wireKey struct{ spi, encryption, keymat string }

func readWireKeys(path string) ([]wireKey, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var keys []wireKey
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return nil, fmt.Errorf("%s: %q", path, line)
		}
		keys = append(keys, wireKey{f[0], f[1], f[2]})
	}
	return keys, nil
}

// wrong is the key with its first byte changed.
func (k wireKey) wrong() wireKey {
	key, _ := hex.DecodeString(k.keymat[2:])
	key[0] ^= 1
	k.keymat = "0x" + hex.EncodeToString(key)
	return k
}

func (r *wireRun) wrongKeys() []wireKey {
	var keys []wireKey
	for _, k := range r.keys {
		keys = append(keys, k.wrong())
	}
	return keys
}

// innerPacket is what an implementation found in the tunnel.
type innerPacket struct {
	kind     string // "icmp 8", "icmpv6 129", "tcp", ...
	src, dst string
	payload  []byte
}

// checkInner asserts that the packets are those that were sent: every ping and its answer, and all of
// the TCP streams.
func (r *wireRun) checkInner(by string, packets []innerPacket) {
	r.t.Helper()
	type way struct{ kind, src, dst string }
	count, carried := map[way]int{}, map[way]int{}
	for _, p := range packets {
		w := way{p.kind, p.src, p.dst}
		if p.kind == "tcp" {
			carried[w] += wirePeriods(p.payload) * len(wirePattern)
		} else if wirePeriods(p.payload) < 8 {
			r.t.Errorf("%s: %v carries %q", by, w, p.payload)
		}
		count[w]++
	}
	for family, kinds := range [][2]string{{"icmp 8", "icmp 0"}, {"icmpv6 128", "icmpv6 129"}} {
		for i := 1; i <= 2; i++ {
			src, dst := r.overlay[i][family].String(), r.overlay[3-i][family].String()
			// Each way has the requests of its own pings and the answers to the other's.
			for _, kind := range kinds {
				if n := count[way{kind, src, dst}]; n != wirePings {
					r.t.Errorf("%s: %d packets %q from %s to %s, want %d", by, n, kind, src, dst, wirePings)
				}
			}
			if n := count[way{"tcp", src, dst}]; n == 0 {
				r.t.Errorf("%s: no TCP from %s to %s", by, src, dst)
			}
		}
		src, dst := r.overlay[1][family].String(), r.overlay[2][family].String()
		// A segment's ends may cut two periods of the pattern.
		if n, least := carried[way{"tcp", src, dst}], wireBytes*9/10; n < least {
			r.t.Errorf("%s: TCP from %s to %s carries %d bytes of the pattern, want %d", by, src, dst, n, least)
		}
	}
}

// wirePeriods is how often the pattern occurs in b.
func wirePeriods(b []byte) int { return bytes.Count(b, wirePattern) }
