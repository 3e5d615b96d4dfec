package ikewire

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTshark has every payload type read by an independent implementation: messages that
// this package wrote, the encrypted ones under a real key that tshark is told.
func TestTshark(t *testing.T) {
	for _, tool := range []string{"tshark", "text2pcap"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (Debian package tshark)", tool)
		}
	}
	key := bytes.Repeat([]byte{0x42}, 20)
	messages, h := tsharkMessages(t, key)
	file := filepath.Join(t.TempDir(), "ike.pcap")
	var dump strings.Builder
	for _, m := range messages {
		fmt.Fprintf(&dump, "000000 % x\n\n", m)
	}
	text2pcap := exec.Command("text2pcap", "-q", "-4", "192.0.2.1,192.0.2.2", "-u", "500,500", "-", file)
	text2pcap.Stdin = strings.NewReader(dump.String())
	if out, err := text2pcap.CombinedOutput(); err != nil {
		t.Fatalf("text2pcap: %v\n%s", err, out)
	}
	secret := hex.EncodeToString(key)
	table := fmt.Sprintf(`uat:ikev2_decryption_table:%s,%s,%s,%s,"AES-GCM-128 with 16 octet ICV [RFC5282]",,,"NONE [RFC4306]"`,
		h.InitiatorSPI, h.ResponderSPI, secret, secret)
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("tshark", append([]string{"-n", "-o", table, "-r", file}, args...)...)
		cmd.Env = append(cmd.Environ(), "WIRESHARK_CONFIG_DIR="+t.TempDir())
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("tshark: %v\n%s", err, stderr.Bytes())
		}
		return string(out)
	}
	if bad := run("-Y", "_ws.malformed || _ws.expert || !isakmp", "-V"); bad != "" {
		t.Errorf("tshark complains of\n%s", bad)
	}
	checkDissection(t, run("-V"))
}

// checkDissection compares what tshark says with what was written.
func checkDissection(t *testing.T, text string) {
	t.Helper()
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^ +Payload: .*\((\d+)\)`).FindAllStringSubmatch(text, -1) {
		got = append(got, m[1])
	}
	// 2 is a proposal, 3 a transform. The fragments are dissected once, in the last.
	want := "33 2 3 3 3 3 34 40 43 41 41 41 41 41 41 41 41 41 " +
		"46 35 36 37 38 39 47 33 2 3 3 3 2 3 3 44 45 41 41 41 41 " +
		"53 53 35 37 39 " +
		"46 41 33 2 3 3 3 2 3 3 40 34 44 45 41 " +
		"46 42 41 41 41 " +
		"46"
	if g := strings.Join(got, " "); g != want {
		t.Errorf("tshark sees\n     %s\nwant %s", g, want)
	}
	for _, line := range []string{
		"Key Length: 256", "Transform ID (D-H): Curve25519 (31)", "Notify Message Type: SIGNATURE_HASH_ALGORITHMS (16431)",
		"Supported Signature Hash Algorithm: SHA2-512 (4)", "Transform ID (ENCR): AES-GCM with a 16 octet ICV (20)",
		"Identification Data:gw.example.net", "Authentication Method: Shared Key Message Integrity Code (2)",
		"INTERNAL IP4 ADDRESS: 10.66.0.1", "Starting Addr: 10.98.1.0", "Ending Addr: 10.98.1.255", "Starting Addr: 2001:db8::",
		"Start Port: 80", "End Port: 443", "Fragment Number: 2", "Total Fragments: 2",
		"Notify Message Type: REKEY_SA (16393)", "SPI: c0decafe", "Delete SPI: 00000100", "Transform ID (ESN): Extended Sequence Numbers (1)",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("tshark does not say %q", line)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}

func tsharkMessages(t *testing.T, key []byte) ([][]byte, Header) {
	t.Helper()
	h := Header{InitiatorSPI: emptyHeader().InitiatorSPI, Exchange: IKESAInit, Flags: FlagInitiator}
	initial := []Payload{
		saCases()[0].payload, KE{31, unhex(t, ke25519)[4:]}, Nonce{bytes.Repeat([]byte{7}, 32)}, VendorID{[]byte("abc")},
		NewCookie([]byte("cookie")),
		NewNATDetection(NATDetectionSourceIP, NATHash{1}), NewNATDetection(NATDetectionDestinationIP, NATHash{2}),
		Notify{Type: IKEv2FragmentationSupported}, NewHashAlgorithms([]HashAlgorithm{HashSHA256, HashSHA512}),
		Notify{Type: RedirectSupported}, Notify{Type: ChildlessIKEv2Supported}, Notify{Type: UsePPK},
		Notify{Type: IntermediateExchangeSupported},
	}
	first, err := (&Message{Header: h, Payloads: initial}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	h.ResponderSPI = emptyHeader().ResponderSPI
	all := [][]byte{first}
	exchange := func(kind ExchangeType, inside ...Payload) {
		h.Exchange, h.MessageID = kind, h.MessageID+1
		e, err := Seal(h, nil, inside, gcmSizes)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, encrypt(t, key, e, uint8(h.MessageID)))
	}
	id := IDi{Identification{Type: IDFQDN, Data: []byte("gw.example.net")}}
	esp, ts := saCases()[1].payload, tsCases()[0].payload.(TSi).Selectors[:2]
	auth := AUTH{AuthSharedKey, bytes.Repeat([]byte{5}, 32)}
	exchange(IKEAuth,
		id, idCases()[1].payload, CERT{CertX509Signature, certificate(t)}, NewCERTREQ(CertX509Signature, []KeyHash{HashKey(nil)}),
		auth, CP{ConfigReply, cpCases()[1].payload.(CP).Attributes[:3]}, esp, TSi{ts}, TSr{ts},
		Notify{Type: InitialContact}, Notify{Type: MOBIKESupported}, NewAdditionalAddress(netip.MustParseAddr("192.0.2.9")),
		Notify{Type: EAPOnlyAuthentication})

	h.MessageID++
	parts, err := SealFragments(h, nil, []Payload{id, CERT{CertX509Signature, certificate(t)}, auth}, gcmSizes, 400)
	if err != nil || len(parts) != 2 {
		t.Fatal(len(parts), err)
	}
	for i, e := range parts {
		all = append(all, encrypt(t, key, e, uint8(0x80+i)))
	}
	exchange(CreateChildSA, NewChildNotify(RekeySA, ProtocolESP, 0xc0decafe), esp, Nonce{make([]byte, 32)},
		KE{31, unhex(t, ke25519)[4:]}, TSi{ts}, TSr{ts}, Notify{Type: ESPTFCPaddingNotSupported})
	exchange(Informational, NewDelete(ProtocolESP, []uint32{0x100, 0x101}), Notify{Type: UpdateSAAddresses},
		NewCookie2(make([]byte, 16)), Notify{Type: NoAdditionalAddresses})
	exchange(Informational)
	return all, h
}

// encrypt seals an envelope by AES-GCM, RFC 5282.
func encrypt(t *testing.T, key []byte, e Envelope, iv uint8) []byte {
	t.Helper()
	e.IV[len(e.IV)-1] = iv
	gcm(t, key).Seal(e.Text[:0], append(bytes.Clone(key[16:]), e.IV...), e.Text, e.AAD)
	return e.Message
}

// certificate is that of the transcript's first IKE_AUTH.
func certificate(t *testing.T) []byte {
	t.Helper()
	for _, m := range transcript(t).messages {
		if ps, err := ParsePayloads(m.first, m.inside); err == nil {
			if c, ok := Find[CERT](ps); ok {
				return c.Data
			}
		}
	}
	t.Fatal("no certificate in the transcript")
	return nil
}
