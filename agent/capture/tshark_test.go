package capture

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// sealedBy is one suite's SA and two packets sealed under it: a good one and one whose last ICV byte is changed.
type sealedBy struct {
	suite   transform.Suite
	sa      datapath.KeyedSA
	packets [][]byte
}

// every suite that the table of transforms has, insecure ones too, each with an SPI of its own.
func everySuite(t *testing.T, inner []byte) []sealedBy {
	t.Helper()
	var out []sealedBy
	for i, suite := range append(transform.Suites(), transform.InsecureSuites()...) {
		key := make([]byte, suite.KeymatLen())
		for j := range key {
			key[j] = byte(i + 3*j + 1)
		}
		spi := uint32(0x1000 + i)
		s := sealedBy{suite: suite, sa: datapath.KeyedSA{Remote: netip.MustParseAddr("192.0.2.2"), SA: datapath.SA{SPI: spi, Key: key, Transform: datapath.Transform{
			ID: suite.Encryption.ID, KeyBits: suite.Encryption.KeyBits, Integrity: suite.Integrity.ID}}}}
		sealer, err := esp.NewSealer(esp.Config{SPI: spi, Encryption: suite.Encryption, Integrity: suite.Integrity, Keymat: key})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 2 {
			p, err := sealer.Seal(make([]byte, 0, sealer.SealedLen(len(inner))), inner, esp.NextHeaderIPv4)
			if err != nil {
				t.Fatal(err)
			}
			if n == 1 {
				p[len(p)-1] ^= 1
			}
			s.packets = append(s.packets, p)
		}
		out = append(out, s)
	}
	return out
}

// echo is an ICMP echo request.
func echo(t *testing.T, src, dst string) []byte {
	t.Helper()
	b := make([]byte, ipwire.IPv4MinHeaderLen+64)
	b[ipwire.IPv4MinHeaderLen] = 8
	sum := ^ipwire.Sum(b[ipwire.IPv4MinHeaderLen:])
	b[ipwire.IPv4MinHeaderLen+2], b[ipwire.IPv4MinHeaderLen+3] = byte(sum>>8), byte(sum)
	if _, err := ipwire.PutIPv4(b, ipwire.IPv4Header{TTL: 9, Protocol: ipwire.ProtoICMP, Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst)}); err != nil {
		t.Fatal(err)
	}
	return b
}

// tshark reads the capture with the table in its profile, and returns the given fields of each packet.
func tshark(t *testing.T, capture, table []byte, fields ...string) [][]string {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed: make setup installs it")
	}
	dir := t.TempDir()
	profile := filepath.Join(dir, "wireshark")
	file := filepath.Join(dir, "capture.pcapng")
	for _, err := range []error{os.Mkdir(profile, 0o700), os.WriteFile(filepath.Join(profile, "esp_sa"), table, 0o600), os.WriteFile(file, capture, 0o600)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"-n", "-r", file, "-T", "fields", "-E", "separator=|", "-E", "aggregator=;",
		"-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.CommandContext(t.Context(), "tshark", args...)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, stderr.String())
	}
	if s := stderr.String(); strings.Contains(s, "esp_sa") || strings.Contains(s, "Error") {
		t.Errorf("tshark says: %s", s)
	}
	var rows [][]string
	for line := range strings.Lines(string(out)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "|"))
	}
	return rows
}

// record writes what tapped packets give.
func record(t *testing.T, o Options, taps ...datapath.Tapped) []byte {
	t.Helper()
	r, err := New(o, 4500)
	if err != nil {
		t.Fatal(err)
	}
	for _, tap := range taps {
		r.Packet(tap)
	}
	r.options.Packets = uint64(len(r.queue))
	var b bytes.Buffer
	done, err := r.Write(context.Background(), &b)
	if err != nil || done.Lost != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	return b.Bytes()
}

// TestTsharkOpensEverySuiteItKnows: Debian's tshark decrypts what we seal and judges the ICVs, of every suite
// that it knows; which those are is counted.
func TestTsharkOpensEverySuiteItKnows(t *testing.T) {
	inner := echo(t, "10.1.0.1", "10.2.0.2")
	suites := everySuite(t, inner)
	remote, local := netip.MustParseAddrPort("192.0.2.2:4500"), netip.MustParseAddr("192.0.2.1")
	var taps []datapath.Tapped
	var sas []datapath.KeyedSA
	for _, s := range suites {
		for _, p := range s.packets {
			taps = append(taps, datapath.Tapped{Protocol: ipwire.ProtoUDP, Data: p, Remote: remote, Local: local})
		}
		sas = append(sas, s.sa)
	}
	var table bytes.Buffer
	unknown, err := WriteTable(&table, sas)
	if err != nil {
		t.Fatal(err)
	}
	rows := tshark(t, record(t, Options{Outer: true}, taps...), table.Bytes(), "esp.spi", "esp.icv_good", "esp.icv_bad", "ip.dst", "icmp.type")
	if len(rows) != len(taps) {
		t.Fatalf("%d packets, want %d", len(rows), len(taps))
	}
	left := map[uint32]bool{}
	for _, sa := range unknown {
		left[sa.SA.SPI] = true
	}
	opened, judged := 0, 0
	for i, row := range rows {
		s := suites[i/2]
		if want := fmt.Sprintf("0x%08x", s.sa.SA.SPI); row[0] != want {
			t.Fatalf("packet %d has the SPI %s, want %s", i, row[0], want)
		}
		if left[s.sa.SA.SPI] {
			continue
		}
		good := i%2 == 0
		if good {
			if row[3] != "192.0.2.2;10.2.0.2" || row[4] != "8" {
				t.Errorf("%v is not decrypted: %v", s.suite, row)
				continue
			}
			opened++
		}
		if checked(s.suite) {
			if row[1] != truth(good) || row[2] != truth(!good) {
				t.Errorf("%v, good ICV %v: tshark judges %v", s.suite, good, row)
				continue
			}
			judged++
		}
	}
	t.Logf("of %d suites tshark decrypts %d and checks the ICVs of %d; it does not know %d", len(suites), opened, judged/2, len(unknown))
	if opened < 40 || judged/2 < 20 {
		t.Errorf("only %d suites were opened and %d judged", opened, judged/2)
	}
}

// truth is a boolean as tshark prints it.
func truth(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// checked reports whether tshark verifies the suite's ICV.
func checked(s transform.Suite) bool {
	switch s.Integrity.ID {
	case transform.IntegHMACSHA1_96, transform.IntegHMACSHA2_256_128, transform.IntegHMACSHA2_384_192, transform.IntegHMACSHA2_512_256:
		return true
	}
	return s.Encryption.AEAD()
}
