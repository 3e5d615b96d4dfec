//go:build linux

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/agent/local"
)

// output runs a command of the agent's and returns what it prints, with its exit status.
func (s *station) output(args ...string) (out, errs string, status int) {
	s.t.Helper()
	var o, e bytes.Buffer
	status = run(s.t.Context(), append(args, "--run-dir", filepath.Join(s.dir, "run")), &o, &e)
	return o.String(), e.String(), status
}

// TestInspection: what would become of packets, in words, and a capture that tshark decrypts with the table of keys
// that comes with it.
func TestInspection(t *testing.T) {
	left, right := newStations(t)
	one, other := ends(tunnelPolicy, 16)
	one = strings.Replace(one, "policies:\n", "policies:\n- {name: telnet, action: discard, local: [any], remote: [any tcp/23]}\n", 1)
	left.save(one)
	right.save(other)
	left.start("--allow-capture")
	right.start()

	out, _, status := left.output("trace", "--packet", "tcp 10.1.0.1:40000 > 10.2.0.1:443")
	for _, want := range []string{"10.1.0.1:40000 > 10.2.0.1:443", "DISCARD", "another remote port", "PROTECT", "SPI 0x00002010", "sealed and sent to 192.0.2.2:4500"} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("trace lacks %q: %d\n%s", want, status, out)
		}
	}
	if out, _, _ = left.output("trace", "--packet", "tcp 10.1.0.1:40000 > 10.2.0.1:23"); !strings.Contains(out, "out-discarded") {
		t.Errorf("trace of what is discarded:\n%s", out)
	}
	if out, _, _ = left.output("trace", "--packet", "udp 10.1.0.1:1 > 10.2.0.1:2", "--size", "1480", "--df"); !strings.Contains(out, "out-too-big") {
		t.Errorf("trace of what is too big:\n%s", out)
	}
	if out, _, _ = left.output("trace", "--inbound", "--packet", "icmp 10.2.0.1 > 10.1.0.1"); !strings.Contains(out, "SPI 0x00001010") {
		t.Errorf("trace of what comes in:\n%s", out)
	}
	if out, _, _ = left.output("policy"); !strings.Contains(out, "DISCARD") || !strings.Contains(out, "10.2.0.0/24") {
		t.Errorf("policy:\n%s", out)
	}
	if out, _, _ = left.output("policy", "regions"); !strings.Contains(out, "0-22") || !strings.Contains(out, "24-65535") {
		t.Errorf("regions:\n%s", out)
	}
	var entries []local.Entry
	if left.ask("policy", &entries); len(entries) == 0 || entries[0].Action != "DISCARD" {
		t.Errorf("entries %+v", entries)
	}

	if _, errs, status := right.output("capture", "-w", filepath.Join(right.dir, "no.pcapng")); status == 0 || !strings.Contains(errs, "--allow-capture") {
		t.Errorf("a capture that is not allowed: %d, %s", status, errs)
	}
	if _, err := os.Stat(filepath.Join(right.dir, "no.pcapng")); err == nil {
		t.Error("an empty file is left of a capture that was refused")
	}
	left.captured(right)
	if log := left.log.String(); !strings.Contains(log, "audit: a capture of traffic begins") || !strings.Contains(log, "audit: the keys of all security associations were handed out") {
		t.Errorf("not in the log:\n%s", log)
	}
}

// captured captures while packets pass.
func (s *station) captured(other *station) {
	t := s.t
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed: make setup installs it")
	}
	profile := filepath.Join(s.dir, "wireshark")
	if err := os.Mkdir(profile, 0o700); err != nil {
		t.Fatal(err)
	}
	file, table := filepath.Join(s.dir, "capture.pcapng"), filepath.Join(profile, "esp_sa")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan string, 1)
	go func() {
		var errs bytes.Buffer
		run(ctx, []string{"capture", "--run-dir", filepath.Join(s.dir, "run"), "-w", file, "--sa-table", table, "-c", "8"}, &errs, &errs)
		done <- errs.String()
	}()
	until(t, "the capture begins", func() bool { return strings.Contains(s.log.String(), "audit: a capture of traffic begins") })
	s.Run("ping", "-c", "3", "-i", "0.05", "-w", "10", "-I", "10.1.0.1", "10.2.0.1")
	if errs := <-done; errs != "" {
		t.Errorf("capture: %s", errs)
	}
	cmd := exec.Command("tshark", "-n", "-r", file, "-o", "esp.enable_encryption_decode:TRUE", "-Y", "esp && icmp", "-T", "fields", "-e", "frame.interface_name", "-e", "ip.dst", "-e", "icmp.type")
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir)
	got, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(got), "outer\t192.0.2.2,10.2.0.1\t8") || !strings.Contains(string(got), "outer\t192.0.2.1,10.1.0.1\t0") {
		t.Errorf("tshark: %v\n%s", err, got)
	}
	if info, err := os.Stat(table); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the table of keys: %v, %v", info, err)
	}
	if _, errs, status := s.output("capture", "-w", file); status != exitUsage || !strings.Contains(errs, "exists") {
		t.Errorf("over a file that is there: %d, %s", status, errs)
	}
}
