package manual

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/services/protocol/spd"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// key is n bytes of key material, other ones for each seed, in hexadecimal.
func key(seed byte, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i)*3
	}
	return hex.EncodeToString(b)
}

// everything has every field once.
var everything = `
insecure: true
default: discard
policies:
  - name: ssh
    action: bypass
    local: ["any"]
    remote: ["any tcp/22"]
  - name: branch
    action: protect
    local: ["10.1.0.0/16"]
    remote: ["10.2.0.0/16", "192.0.2.1-192.0.2.9 udp/1000-2000", "2001:db8::/32 icmpv6/128/0"]
    mode: tunnel
    protocol: esp
    proposal: aes256gcm16
    esn: true
    encapsulation: native
    local-address: 192.0.2.10
    remote-address: 192.0.2.20
    in:  {spi: 0x1001, key: "0x` + key(1, 36) + `", source: 192.0.2.20, destination: 192.0.2.10}
    out: {spi: 0x2001, key: "` + key(2, 36) + `"}
    replay-window: 1024
    df: set
    dscp: 46
    ecn: false
    hop-limit: 32
    pad: 1300
    dummy-interval: 90s
    path-mtu: 1400
    populate: [local-address, remote-address, protocol, local-port, remote-port]
    lifetime: {soft-bytes: 1000, hard-bytes: 2000, soft-packets: 10, hard-packets: 20, soft-time: 1h, hard-time: 2h}
  - name: nat
    action: protect
    local: [any4]
    remote: ["198.51.100.7"]
    mode: transport
    proposal: aes128-sha256
    esn: false
    remote-address: "198.51.100.7:4501"
    local-behind-nat: true
    remote-behind-nat: true
    replay-window: 0
    original-addresses: {source: 10.9.9.9, destination: 10.8.8.8}
    in:  {spi: 4098, key: "` + key(3, 48) + `"}
    out: {spi: 8194, key: "` + key(4, 48) + `"}
  - name: signed
    action: protect
    local: ["2001:db8:1::/48"]
    remote: ["2001:db8:2::/48"]
    protocol: ah
    proposal: sha256
    remote-address: 2001:db8::2
    ah-align: 8
    in:  {spi: 4099, key: "` + key(5, 32) + `"}
    out: {spi: 8195, key: "` + key(6, 32) + `"}
  - name: rest
    action: discard
    local: [any4, any6]
    remote: [any]
`

func mustParse(t testing.TB, text string) *File {
	t.Helper()
	f, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParse(t *testing.T) {
	f := mustParse(t, everything)
	if !f.Insecure || !f.DiscardRest || len(f.Policies) != 5 {
		t.Fatalf("%+v", f)
	}
	for i, want := range []struct {
		name          string
		action        spd.Action
		local, remote int
	}{{"ssh", spd.Bypass, 2, 2}, {"branch", spd.Protect, 1, 3}, {"nat", spd.Protect, 1, 1}, {"signed", spd.Protect, 1, 1}, {"rest", spd.Discard, 2, 2}} {
		p := f.Policies[i]
		if p.Name != want.name || p.Action != want.action || len(p.Local) != want.local || len(p.Remote) != want.remote || (p.Protection != nil) != (want.action == spd.Protect) {
			t.Errorf("%d: %+v", i, p)
		}
	}
	branch, nat, signed := f.Policies[1].Protection, f.Policies[2].Protection, f.Policies[3].Protection
	if want := (datapath.PathSpec{Local: netip.MustParseAddr("192.0.2.10"), Remote: netip.MustParseAddrPort("192.0.2.20:0"), Foreign: true}); branch.Path != want {
		t.Errorf("path %+v", branch.Path)
	}
	if want := (spd.Populate{LocalAddress: true, RemoteAddress: true, Protocol: true, LocalPort: true, RemotePort: true}); branch.Populate != want {
		t.Errorf("populate %+v", branch.Populate)
	}
	soft := datapath.Lifetime{Time: time.Hour, Bytes: 1000, Packets: 10}
	hard := datapath.Lifetime{Time: 2 * time.Hour, Bytes: 2000, Packets: 20}
	common := datapath.SA{Transform: datapath.Transform{ID: transform.EncrAESGCM16, KeyBits: 256}, Protocol: datapath.ESP,
		Encapsulation: datapath.Native, ESN: true, Insecure: true, Soft: soft, Hard: hard}
	in, out := common, common
	in.SPI, in.ReplayWindow, in.Source, in.Destination = 0x1001, 1024, netip.MustParseAddr("192.0.2.20"), netip.MustParseAddr("192.0.2.10")
	out.SPI = 0x2001
	out.Outer = datapath.Outer{DF: datapath.DFSet, DSCP: 46, NoECN: true, HopLimit: 32, Pad: 1300, DummyInterval: 90 * time.Second, MTU: 1400}
	for _, tt := range []struct {
		got  SA
		want datapath.SA
		key  string
	}{{branch.In, in, key(1, 36)}, {branch.Out, out, key(2, 36)}} {
		if !tt.got.same(&SA{Spec: tt.want, whole: tt.got.whole}) || hex.EncodeToString(tt.got.Keymat) != tt.key {
			t.Errorf("got  %+v\nwant %+v", tt.got.Spec, tt.want)
		}
	}
	if nat.In.Spec.ReplayWindow != datapath.NoReplayWindow || nat.In.Spec.ESN || nat.In.Spec.Mode != datapath.Transport || nat.In.Spec.Encapsulation != datapath.UDP ||
		nat.Path.Remote != netip.MustParseAddrPort("198.51.100.7:4501") || !nat.Path.LocalBehindNAT || !nat.Path.RemoteBehindNAT || nat.Path.Foreign ||
		nat.In.Spec.NAT != (datapath.OriginalAddresses{Source: netip.MustParseAddr("10.9.9.9"), Destination: netip.MustParseAddr("10.8.8.8")}) {
		t.Errorf("%+v %+v", nat.In.Spec, nat.Path)
	}
	if signed.In.Spec.Protocol != datapath.AH || signed.In.Spec.Encapsulation != datapath.Native || !signed.Out.Spec.Outer.Align8 || !signed.Out.Spec.Outer.CopyDSCP ||
		signed.In.Spec.Transform != (datapath.Transform{Integrity: transform.IntegHMACSHA2_256_128}) || signed.In.Spec.ReplayWindow != 0 || !signed.In.Spec.ESN {
		t.Errorf("%+v", signed.In.Spec)
	}
}

// minimal is one policy that protects, with its parts to be replaced.
var minimal = `default: bypass
policies:
- name: a
  action: protect
  local: [10.1.0.0/16]
  remote: [10.2.0.0/16]
  proposal: aes256-sha256
  remote-address: 192.0.2.20
  in: {spi: 0x1001, key: "` + key(1, 64) + `"}
  out: {spi: 0x2001, key: "` + key(2, 64) + `"}
`

func TestDefaults(t *testing.T) {
	f := mustParse(t, minimal)
	p := f.Policies[0].Protection
	if f.Insecure || f.DiscardRest || p.In.Spec.Protocol != datapath.ESP || p.In.Spec.Mode != datapath.Tunnel || p.In.Spec.Encapsulation != datapath.UDP ||
		!p.In.Spec.ESN || p.Path.Remote != netip.MustParseAddrPort("192.0.2.20:4500") || p.Out.Spec.Outer != (datapath.Outer{CopyDSCP: true}) {
		t.Errorf("%+v", p)
	}
}

// Every message, by what is changed in minimal: an old text and a new one. "…+" puts lines into the policy.
func TestErrors(t *testing.T) {
	in, out := key(1, 64), key(2, 64)
	another := func(name string, edits ...string) string {
		second := minimal[strings.Index(minimal, "- name"):]
		second = strings.NewReplacer(append(edits, "name: a", "name: "+name)...).Replace(second)
		return minimal + second
	}
	add := func(lines string) string { return minimal + "  " + strings.ReplaceAll(lines, "\n", "\n  ") + "\n" }
	edit := func(oldNew ...string) string {
		for i := 0; i < len(oldNew); i += 2 {
			if !strings.Contains(minimal, oldNew[i]) {
				panic(oldNew[i])
			}
		}
		return strings.NewReplacer(oldNew...).Replace(minimal)
	}
	for _, tt := range []struct {
		text, want string
		is         error
	}{
		{"", "f:1:1: the file is empty", nil},
		{"# nothing\n", "f:1:1: the file is empty", nil},
		{"- a\n", "f:1:1: the file must be a mapping of keys to values, this is a list", nil},
		{"a: [\n", "f:1:", nil},
		{"policies: []\n", "default is missing: say bypass", nil},
		{"default: bypass\n", "policies is missing: say policies: []", nil},
		{"default: protect\npolicies: []\n", `f:1:10: default "protect": want bypass or discard`, nil},
		{"default: bypass\npolicies: {}\n", "policies must be a list, this is a mapping", nil},
		{"default: bypass\npolicy: []\n", `f:2:1: unknown field "policy" in the file: did you mean "policies"?`, nil},
		{"default: bypass\npolicies: [x]\n", "policies[0] must be a mapping", nil},
		{"default: bypass\npolicies: [{}]\n", "action of policies[0] is missing", nil},
		{"default: bypass\npolicies: [" + strings.Repeat("x,", maxPolicies+1) + "]\n", "2049 policies: at most 2048", nil},
		{"insecure: yes\ndefault: bypass\npolicies: []\n", "insecure must be true or false, this is a string", nil},
		{add("mod: tunnel"), `unknown field "mod" in policies[0]: did you mean "mode"?`, nil},
		{edit("name: a", "name: ''"), `f:3:9: name "": want 1 to 64 bytes`, nil},
		{edit("name: a", "name: 7"), "name must be a string, this is the number 7: put it in quotes", nil},
		{edit("name: a", "name:"), "name of policies[0] has no value", nil},
		{edit("protect", "allow"), `f:4:11: action "allow": want discard or bypass or protect`, nil},
		{edit("protect", "bypass"), `in belongs to action: protect, and the action of "a" is bypass`, nil},
		{edit("protect", "discard"), `proposal belongs to action: protect, and the action of "a" is discard`, nil},
		{edit("[10.1.0.0/16]", "10.1.0.0/16"), "local must be a list, this is a string: put it in [ ]", nil},
		{edit("[10.1.0.0/16]", "[]"), "local is empty: write [any]", nil},
		{edit("[10.1.0.0/16]", "[10.1.0.0/99]"), `f:5:11: local: cannot read the selector: "10.1.0.0/99" is no prefix`, spd.ErrText},
		{edit("[10.1.0.0/16]", "[10]"), "local must be a string, this is the number 10", nil},
		{edit("[10.1.0.0/16]", "["+strings.Repeat("any4,", 256)+"]"), "local has 256 selectors: at most 255", nil},

		{edit("  proposal: aes256-sha256\n", ""), `proposal of "a" is missing`, nil},
		{edit("aes256-sha256", "aes256"), "encryption without integrity MUST NOT be used: write an integrity algorithm behind it, for example aes256-sha256", transform.ErrNoIntegrity},
		{edit("aes256-sha256", "'null'"), "encryption without integrity", transform.ErrNoIntegrity},
		{edit("aes256-sha256", "aes256gcm16-sha256"), "takes no integrity algorithm", transform.ErrTwoIntegrities},
		{edit("aes256-sha256", "des-sha256"), "RFC 8221 says MUST NOT", transform.ErrForbidden},
		{edit("aes256-sha256", "aes256-md5"), "RFC 8221 says MUST NOT", transform.ErrForbidden},
		{edit("aes256-sha256", "3des-sha256"), "RFC 8221 says SHOULD NOT: encryption \"3des\": if the other end can nothing better, say insecure: true", transform.ErrInsecure},
		{edit("aes256-sha256", "rot13-sha256"), `unknown transform: encryption "rot13"`, transform.ErrUnknown},
		{edit("aes256-sha256", "sha256"), "ESP that only authenticates is null-sha256", transform.ErrUnknown},
		{edit("aes256-sha256", "aes256-aes256gmac"), "for AH only", transform.ErrAHOnly},
		{edit("aes256-sha256", "aes256gcm16"), "RFC 8221 section 3 says MUST NOT. Choose a CBC suite", ErrCounterMode},
		{edit("aes256-sha256", "aes256ccm16"), "insecure: true", ErrCounterMode},
		{edit("aes256-sha256", "aes256ctr-sha256"), "a counter, which must never come again", ErrCounterMode},
		{edit("aes256-sha256", "chacha20poly1305"), "", ErrCounterMode},
		{edit("aes256-sha256", "aes256gmac"), "", ErrCounterMode},
		{edit("aes256-sha256", "aes256gmac\n  protocol: ah"), "", ErrCounterMode},
		{edit("aes256-sha256", "aes256-sha256\n  protocol: ah"), "AH encrypts nothing, its proposal is an integrity algorithm", transform.ErrUnknown},

		{add("mode: beet"), `mode "beet": want tunnel or transport`, nil},
		{add("protocol: ipcomp"), `protocol "ipcomp": want esp or ah`, nil},
		{add("encapsulation: tcp"), `encapsulation "tcp": want udp or native`, nil},
		{add("protocol: ah\nencapsulation: udp"), "AH does not travel in UDP", nil},
		{add("esn: 1"), "esn must be true or false, this is the number 1", nil},
		{edit("  remote-address: 192.0.2.20\n", ""), `remote-address of "a" is missing`, nil},
		{edit("192.0.2.20", "branch.example.net"), `remote-address "branch.example.net": want an address`, nil},
		{edit("192.0.2.20", "192.0.2.20:0"), "nobody receives there", nil},
		{edit("192.0.2.20", "0.0.0.0"), "no packet has this address", nil},
		{edit("192.0.2.20", `"192.0.2.20:4500"`+"\n  encapsulation: native"), `remote-address "192.0.2.20:4500": want an address`, nil},
		{edit("192.0.2.20", "fe80::1%eth0"), "no packet has this address", nil},
		{add("local-address: 2001:db8::1"), "are of different families", nil},
		{add("local-address: [1]"), "local-address must be a string, this is a list", nil},
		{edit("[10.1.0.0/16]", "[any]\n  mode: transport"), "the two ends of an SA are of one family: write two policies", nil},
		{edit("10.1.0.0/16", "2001:db8::/32", "10.2.0.0/16", "2001:db8::/32\n    ]\n  mode: transport\n  populate: ["), "is of another family than the selectors", nil},
		{add("encapsulation: native\nremote-behind-nat: true"), "remote-behind-nat is for ESP in UDP", nil},
		{add("encapsulation: native\nlocal-behind-nat: true"), "local-behind-nat is for ESP in UDP", nil},
		{add("original-addresses: {source: 10.0.0.1}"), "original-addresses is for transport mode in UDP", nil},
		{add("mode: transport\ndf: set"), "df is for tunnel mode", nil},
		{add("mode: transport\nhop-limit: 3"), "hop-limit is for tunnel mode", nil},
		{add("hop-limit: 3"), "hop-limit is for native ESP and AH", nil},
		{add("mode: transport\npad: 3"), "pad is for ESP in tunnel mode", nil},
		{add("protocol: ah\npad: 3"), "pad is for ESP in tunnel mode", nil},
		{add("protocol: ah\ndummy-interval: 3s"), "dummy-interval is for ESP: AH has no dummy packets", nil},
		{add("ah-align: 4"), "ah-align is for AH", nil},
		{add("protocol: ah\nah-align: 5"), "ah-align 5: want 4 (RFC 4302 section 2.6) or 8", nil},
		{add("replay-window: 0"), "say esn: false at both ends, or a window from 32 to 4096", nil},
		{add("replay-window: 31"), "replay-window 31: want 0, which is off, or 32 to 4096", nil},
		{add("replay-window: 4097"), "replay-window must be a whole number from 0 to 4096", nil},
		{add("df: maybe"), `df "maybe": want copy or set or clear`, nil},
		{add("dscp: 64"), "dscp must be a whole number from 0 to 63, this is the number 64", nil},
		{add("dscp: ef"), "dscp must be a whole number", nil},
		{add("ecn: full"), "ecn must be true or false", nil},
		{add("encapsulation: native\nhop-limit: 0"), "hop-limit must be a whole number from 1 to 255", nil},
		{add("pad: -1"), "pad must be a whole number from 0 to 65535, this is the number -1", nil},
		{add("path-mtu: 575"), "path-mtu 575: want 0, which is the link's, or 576 to 65535", nil},
		{add("dummy-interval: 5"), "dummy-interval must be a duration such as 90s", nil},
		{add("dummy-interval: -5s"), `this is "-5s"`, nil},
		{add("lifetime: {soft-bytes: 2, hard-bytes: 1}"), "a soft bound is above the hard one", nil},
		{add("lifetime: {soft-time: 2h, hard-time: 1h}"), "a soft bound is above the hard one", nil},
		{add("lifetime: {soft-packets: 2, hard-packets: 1}"), "a soft bound is above the hard one", nil},
		{add("lifetime: {soft: 1}"), `unknown field "soft" in lifetime`, nil},
		{add("lifetime: 1h"), "lifetime must be a mapping", nil},
		{add("populate: [port]"), `populate: unknown selector "port": want local-address, remote-address`, nil},
		{add("populate: all"), "populate must be a list", nil},

		{strings.Replace(minimal, "  in: {", "  In: {", 1), `in of "a" is missing`, nil},
		{edit("spi: 0x1001", "spi: 255"), "spi must be a whole number from 256 to 4294967295, this is the number 255", nil},
		{edit("spi: 0x1001", "spi: 0x100000000"), "spi must be a whole number from 256 to 4294967295", nil},
		{edit("spi: 0x1001, ", ""), "spi of in is missing", nil},
		{edit("spi: 0x2001", "spi: 0x2001, destination: 192.0.2.1"), `unknown field "destination" in out`, nil},
		{edit("spi: 0x1001", "spi: 0x1001, source: 192.0.2.1"), "source needs destination", nil},
		{edit(`key: "`+in+`"`, "x: 1"), "in: give key or key-file, one of them", nil},
		{edit(`key: "`+in+`"`, `key: "`+in+`", key-file: x`), "in: give key or key-file, one of them", nil},
		{edit(in, in[2:]), "key of in has 63 bytes, and the proposal needs 64: 32 of encryption key, then 32 of integrity key", transform.ErrKeyLength},
		{edit(in, in+"00"), "key of in has 65 bytes, and the proposal needs 64", transform.ErrKeyLength},
		{edit(in, in[1:]), "an even number of hexadecimal digits", ErrKey},
		{edit(in, "0x"), "an even number of hexadecimal digits", ErrKey},
		{edit(in, "secret"+in[6:]), "hexadecimal digits", ErrKey},
		{edit(`"`+in+`"`, "1.5"), "key of in must be hexadecimal digits in quotes", ErrKey},
		{edit(`key: "`+in+`"`, "key-file: /nowhere/at/all"), "key-file of in: ", os.ErrNotExist},
		{edit(`key: "`+in+`"`, "key-file: 7"), "key-file must be a string", nil},
		{edit(in, out), `out has a key that is also used by in of policy "a"`, ErrKey},
		{edit(in[:64], out[:64]), "no key protects two directions", ErrKey}, // only the encryption key
		{edit(in[64:], out[64:]), "no key protects two directions", ErrKey}, // only the integrity key
		{another("b", "0x1001", "0x1002"), `in has a key that is also used by in of policy "a"`, ErrKey},
		{another("b", in, key(7, 64), out, key(8, 64)), `SPI 0x1001 of in is that of policy "a"`, nil},
		{another("a", "0x1001", "0x1002", in, key(7, 64), out, key(8, 64)), `f:11:9: another policy is named "a"`, nil},
	} {
		f, err := Parse("f", []byte(tt.text))
		if err == nil {
			t.Errorf("want %q, but it was read: %+v\n%s", tt.want, f, tt.text)
			continue
		}
		if _, ok := err.(Errors); !ok || !strings.HasPrefix(err.Error(), "f:") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got  %v\nwant %s\n%s", err, tt.want, tt.text)
		}
		if tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("%v is not %v", err, tt.is)
		}
		for _, secret := range []string{in[:16], out[:16], "secret"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("a key in the message: %v", err)
			}
		}
	}
}

// All that is wrong is said at once, in the order of the file.
func TestErrorsAll(t *testing.T) {
	text := strings.NewReplacer("default: bypass", "default: x", "name: a", "name: 1", "protect", "protect\n  mode: y").Replace(minimal)
	_, err := Parse("f", []byte(text))
	errs, ok := err.(Errors)
	if !ok || len(errs) != 3 || errs[0].Position.Line != 1 || errs[1].Position.Line != 3 || errs[2].Position.Line != 5 {
		t.Errorf("%v", err)
	}
	_, err = Parse("f", []byte("default: bypass\npolicies: ["+strings.Repeat("x,", 100)+"]\n"))
	if errs, ok := err.(Errors); !ok || len(errs) != maxErrors {
		t.Errorf("%d errors", len(errs))
	}
}

// Same SPI, but another destination or source: RFC 4301 section 4.1.
func TestSPIByDestination(t *testing.T) {
	text := minimal + strings.NewReplacer("name: a", "name: b", key(1, 64), key(3, 64), key(2, 64), key(4, 64),
		"spi: 0x1001", "spi: 0x1001, destination: 192.0.2.1").Replace(minimal[strings.Index(minimal, "- name"):])
	mustParse(t, text)
}

// Every suite is read with keys of its length, as insecure where that is asked for.
func TestProposals(t *testing.T) {
	read := func(proposal, more string, n int) {
		t.Helper()
		text := "insecure: true\n" + strings.NewReplacer("aes256-sha256", proposal+more, key(1, 64), key(1, n), key(2, 64), key(2, n)).Replace(minimal)
		p := mustParse(t, text).Policies[0].Protection
		if p.Out.Spec.Transform.String() != proposal || len(p.Out.Keymat) != n {
			t.Errorf("%s: %v, %d bytes", proposal, p.Out.Spec.Transform, len(p.Out.Keymat))
		}
	}
	for _, s := range append(transform.Suites(), transform.InsecureSuites()...) {
		read(s.String(), "", s.KeymatLen())
	}
	for _, i := range transform.AHIntegrities() {
		read(i.Name, "\n  protocol: ah", i.KeymatLen())
	}
}

// What shares an encryption key and a salt shares a fingerprint, whatever else is different: GCM and CTR make
// the same key stream.
func TestFingerprintOfSuites(t *testing.T) {
	parse := func(proposal, keymat string) SA {
		text := "insecure: true\n" + strings.NewReplacer("aes256-sha256", proposal, key(1, 64), key(9, len(keymat)/2), key(2, 64), keymat).Replace(minimal)
		return mustParse(t, text).Policies[0].Protection.Out
	}
	encryption := key(40, 20)
	gcm := parse("aes128gcm16", encryption)
	for _, same := range []SA{parse("aes128gcm8", encryption), parse("aes128ctr-sha256", encryption+key(50, 32)), parse("aes128ctr-sha1", encryption+key(51, 20))} {
		if same.Fingerprint != gcm.Fingerprint {
			t.Errorf("%v has another fingerprint than %v", same, gcm)
		}
	}
	if other := parse("aes128gcm16", encryption[:32]+"00000000"); other.Fingerprint == gcm.Fingerprint {
		t.Error("another salt has the same fingerprint")
	}
}

// No way to print an SA shows its key, and after Clear there is none.
func TestKeysAreHidden(t *testing.T) {
	f := mustParse(t, everything)
	var log strings.Builder
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	sa := f.Policies[1].Protection.In
	logger.Info("x", "sa", sa, "file", f, "policy", f.Policies[1])
	text, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	all := log.String() + string(text) + fmt.Sprintf("%v %+v %#v %s %x %v %+v %#v", sa, sa, sa, sa, sa.Keymat, f, f.Policies, *f.Policies[1].Protection)
	raw, _ := hex.DecodeString(key(1, 36))
	for _, secret := range []string{key(1, 36)[:12], fmt.Sprint(raw[:6])[1:], fmt.Sprintf("%#v", raw[:6])[8:30], string(raw[:6])} {
		if strings.Contains(strings.ToLower(all), strings.TrimSuffix(secret, "]")) {
			t.Errorf("the key is there as %q", secret)
		}
	}
	if !strings.Contains(all, "[redacted]") || !strings.Contains(all, "aes256gcm16") {
		t.Error("SAs do not show")
	}
	f.Clear()
	for _, p := range f.Policies {
		if p.Protection != nil && strings.Trim(hex.EncodeToString(p.Protection.In.Keymat)+hex.EncodeToString(p.Protection.Out.Keymat), "0") != "" {
			t.Errorf("the keys of %s are not cleared", p.Name)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	filed := strings.NewReplacer(`key: "`+key(1, 64)+`"`, "key-file: in.key", `key: "`+key(2, 64)+`"`, "key-file: "+filepath.Join(dir, "out.key")).Replace(minimal)
	write("in.key", " 0x"+strings.ToUpper(key(1, 64))+"\n", 0o600)
	write("out.key", key(2, 64), 0o400)
	write("open.key", key(3, 64), 0o640)
	write("long.key", strings.Repeat("0", maxKeyFile+1), 0o600)
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, want string
	}{
		{write("good", minimal, 0o600), ""},
		{write("keys-elsewhere", filed, 0o644), ""},
		{write("readable", minimal, 0o640), "holds keys: run chmod 600 "},
		{write("readable-broken", minimal+"}", 0o604), "holds keys: run chmod 600 "},
		{write("writable", filed, 0o664), "others can change it: run chmod 600 "},
		{write("open-key", strings.Replace(filed, "in.key", "open.key", 1), 0o600), "open.key has mode 0640 and holds keys"},
		{write("long-key", strings.Replace(filed, "in.key", "long.key", 1), 0o600), "longer than 4096 bytes"},
		{write("folder-key", strings.Replace(filed, "in.key", "folder", 1), 0o600), "is not a file"},
		{write("broken", "x", 0o600), "broken:1:1: the file must be a mapping"},
		{write("long", strings.Repeat("#", MaxFileSize+1), 0o600), "longer than"},
		{filepath.Join(dir, "none"), "no such file"},
		{dir, "is not a file"},
	} {
		f, err := Load(tt.path)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.path, err)
		case tt.want == "" && hex.EncodeToString(f.Policies[0].Protection.In.Keymat) != key(1, 64):
			t.Errorf("%s: another key", tt.path)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %q", tt.path, err, tt.want)
		}
		if strings.Contains(tt.want, "chmod") && !errors.Is(err, ErrReadable) {
			t.Errorf("%s: %v is not ErrReadable", tt.path, err)
		}
	}
}

// FuzzParse: no input panics, errors have places, and what is read is fit for the datapath.
func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(minimal))
	f.Add([]byte("default: &a discard\npolicies: [{name: *a, action: bypass, local: [any], remote: [any]}]\n"))
	f.Add([]byte("policies: [{in: {spi: [], key: {}}, lifetime: [], populate: {}, dscp: {copy: 1}}]"))
	f.Add([]byte("policies: [{action: protect, mode: transport, mode: tunnel}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, _, err := parse("f", text, func(string) ([]byte, error) { return nil, os.ErrPermission })
		if err != nil {
			if errs, ok := err.(Errors); !ok || len(errs) == 0 || errs[0].Position.Line < 1 || errs[0].Position.Column < 1 {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if len(file.Policies) > math.MaxUint16 {
			t.Skip("more than the datapath is tried with")
		}
		for i, p := range file.Policies {
			if p.Protection == nil {
				continue
			}
			for _, sa := range []SA{p.Protection.In, p.Protection.Out} {
				if sa.Spec.SPI < leastSPI || len(sa.Keymat) != keymatLen(sa.suite()) || isCounter(sa.suite()) && !file.Insecure {
					t.Fatalf("policy %d: %v", i, sa)
				}
			}
			if p.Protection.In.Fingerprint == p.Protection.Out.Fingerprint {
				t.Fatalf("policy %d: one key in both directions", i)
			}
		}
		again, _, err := parse("f", text, nil)
		if err != nil || len(again.Policies) != len(file.Policies) {
			t.Fatalf("read again: %v", err)
		}
	})
}
