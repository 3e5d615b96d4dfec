//go:build linux

package interop

import (
	"maps"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// keyed is a case with keys of one repeated byte: 0x11 towards us, 0x22 towards them.
func keyed(c Case) Keyed {
	k := Keyed{Case: c, SPI: [2]uint32{0x51000007, 0x52000007}}
	for e, fill := range []string{"\x11", "\x22"} {
		k.Key[e] = []byte(strings.Repeat(fill, c.keymatLen()))
	}
	return k
}

func suite(t *testing.T, name string) transform.Suite {
	t.Helper()
	s, err := transform.ParseInsecureSuite(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func integrity(t *testing.T, name string) transform.Integrity {
	t.Helper()
	i, err := transform.IntegrityByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestXfrm(t *testing.T) {
	for _, test := range []struct {
		name string
		c    Case
		want string
	}{
		{
			"a tunnel of another IP version with ESN in UDP",
			Case{Number: 7, Inner: IPv6, Outer: IPv4, Encapsulation: UDP, ESN: true, Suite: suite(t, "aes128gcm8")},
			`xfrm state add src 10.10.0.2 dst 10.10.0.1 proto esp spi 0x51000007 reqid 7 mode tunnel replay-window 64 replay-oseq 0xffffffb0 flag esn af-unspec aead 'rfc4106(gcm(aes))' 0x` + strings.Repeat("11", 20) + ` 64 encap espinudp 4500 4500 0.0.0.0
xfrm state add src 10.10.0.1 dst 10.10.0.2 proto esp spi 0x52000007 reqid 7 mode tunnel replay-window 64 flag esn af-unspec aead 'rfc4106(gcm(aes))' 0x` + strings.Repeat("22", 20) + ` 64 encap espinudp 4500 4500 0.0.0.0
xfrm policy add src fd20::2:7 dst fd20::1:7 dir out priority 20 tmpl src 10.10.0.2 dst 10.10.0.1 proto esp reqid 7 mode tunnel
xfrm policy add src fd20::1:7 dst fd20::2:7 dir in priority 20 tmpl src 10.10.0.1 dst 10.10.0.2 proto esp reqid 7 mode tunnel
`,
		}, {
			"transport mode with a cipher and an integrity algorithm",
			Case{Number: 7, Mode: Transport, Inner: IPv4, Outer: IPv4, Suite: suite(t, "null-sha1")},
			`xfrm state add src 10.30.128.7 dst 10.30.0.7 proto esp spi 0x51000007 reqid 7 mode transport replay-window 128 enc 'ecb(cipher_null)' "" auth-trunc 'hmac(sha1)' 0x` + strings.Repeat("11", 20) + ` 96
xfrm state add src 10.30.0.7 dst 10.30.128.7 proto esp spi 0x52000007 reqid 7 mode transport replay-window 128 enc 'ecb(cipher_null)' "" auth-trunc 'hmac(sha1)' 0x` + strings.Repeat("22", 20) + ` 96
xfrm policy add src 10.30.128.7 dst 10.30.0.7 dir out priority 20 tmpl proto esp reqid 7 mode transport
xfrm policy add src 10.30.0.7 dst 10.30.128.7 dir in priority 20 tmpl proto esp reqid 7 mode transport
`,
		}, {
			"AH as RFC 4302 aligns it",
			Case{Number: 7, Protocol: AH, Mode: Transport, Inner: IPv4, Outer: IPv4, Integrity: integrity(t, "aesxcbc")},
			`xfrm state add src 10.30.128.7 dst 10.30.0.7 proto ah spi 0x51000007 reqid 7 mode transport replay-window 128 flag align4 auth-trunc 'xcbc(aes)' 0x` + strings.Repeat("11", 16) + ` 96
xfrm state add src 10.30.0.7 dst 10.30.128.7 proto ah spi 0x52000007 reqid 7 mode transport replay-window 128 flag align4 auth-trunc 'xcbc(aes)' 0x` + strings.Repeat("22", 16) + ` 96
xfrm policy add src 10.30.128.7 dst 10.30.0.7 dir out priority 20 tmpl proto ah reqid 7 mode transport
xfrm policy add src 10.30.0.7 dst 10.30.128.7 dir in priority 20 tmpl proto ah reqid 7 mode transport
`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := keyed(test.c).xfrm(Theirs, true); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestManual(t *testing.T) {
	got := Manual([]Keyed{
		keyed(Case{Number: 7, Inner: IPv4, Outer: IPv6, Encapsulation: UDP, ESN: true, Suite: suite(t, "aes128-sha256")}),
		keyed(Case{Number: 8, Protocol: AH, Mode: Transport, Inner: IPv4, Outer: IPv4, Integrity: integrity(t, "sha1"), Align8: true}),
	})
	want := `insecure: true
default: bypass
policies:
  - name: case-0007 # esp tunnel, IPv4 in IPv6, udp, aes128-sha256, esn
    action: protect
    local: ["10.20.0.7/32"]
    remote: ["10.20.128.7/32"]
    mode: tunnel
    protocol: esp
    proposal: aes128-sha256
    esn: true
    encapsulation: udp
    local-address: "fd10::1"
    remote-address: "[fd10::2]:4500"
    replay-window: 64
    in: {spi: 0x51000007, key: "0x` + strings.Repeat("11", 48) + `"}
    out: {spi: 0x52000007, key: "0x` + strings.Repeat("22", 48) + `"}
  - name: case-0008 # ah transport, IPv4, sha1, align 8
    action: protect
    local: ["10.30.0.8/32"]
    remote: ["10.30.128.8/32"]
    mode: transport
    protocol: ah
    proposal: sha1
    esn: false
    encapsulation: native
    local-address: "10.30.0.8"
    remote-address: "10.30.128.8"
    replay-window: 128
    ah-align: 8
    in: {spi: 0x51000007, key: "0x` + strings.Repeat("11", 20) + `"}
    out: {spi: 0x52000007, key: "0x` + strings.Repeat("22", 20) + `"}
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestParseTraffic(t *testing.T) {
	const out = `src 10.10.0.1 dst 10.10.0.2
	proto esp spi 0x52000007(1375731719) reqid 7(0x00000007) mode tunnel
	replay-window 0 seq 0x00000000 flag esn (0x10000000)
	aead rfc4106(gcm(aes)) 0x22 (160 bits) 64
	anti-replay esn context:
	 seq-hi 0x0, seq 0x0, oseq-hi 0x1, oseq 0x3
	lifetime config:
	  limit: soft (INF)(bytes), hard (INF)(bytes)
	lifetime current:
	  252(bytes), 3(packets)
	  add 2026-11-26 12:00:00 use -
	stats:
	  replay-window 0 replay 0 failed 0
src 10.10.0.2 dst 10.10.0.1
	proto ah spi 0x51000007(1358954503) reqid 7(0x00000007) mode tunnel
	lifetime current:
	  0(bytes), 0(packets)
`
	got, err := parseTraffic(out)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[uint32]Traffic{0x52000007: {3, 1<<32 + 3}, 0x51000007: {}}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, bad := range []string{"proto esp spi 0xzz(1)\n", "proto esp\n", "seq-hi 0x0\n", "lifetime current:\n 252(bytes)\n"} {
		if _, err := parseTraffic(bad); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}
