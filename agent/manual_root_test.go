//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/sallyport/agent/local"
	"sallyport.dev/sallyport/agent/netio/nstest"
)

// station is a namespace with an agent in keying mode manual: the real program, in a process of its own.
//
//	 left                                          right
//	lo 10.1.0.1                                    lo 10.2.0.1
//	sallyport-agent run --manual                   sallyport-agent run --manual
//	eth0 192.0.2.1, fd16::1 ───────── veth ─────── eth0 192.0.2.2, fd16::2
type station struct {
	*nstest.Namespace
	t      *testing.T
	binary string
	dir    string
	cmd    *exec.Cmd
	log    *journal
}

// journal is what a process writes.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// until waits for something that other processes do.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !done(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// save writes the file with the keys.
func (s *station) save(text string) {
	s.t.Helper()
	if err := os.WriteFile(s.file(), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *station) file() string { return filepath.Join(s.dir, "manual.yaml") }

func (s *station) start(flags ...string) {
	s.t.Helper()
	s.log = new(journal)
	s.cmd = exec.Command(s.binary, append([]string{"run", "--manual", s.file(), "--state-dir", filepath.Join(s.dir, "state"), "--run-dir", filepath.Join(s.dir, "run")}, flags...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	var err error
	s.Do(func() { err = s.cmd.Start() })
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		if s.t.Failed() {
			s.t.Log(s.log)
		}
	}()
	until(s.t, "the agent runs", func() bool { return strings.Contains(s.log.String(), "sallyport-agent runs") })
}

// kill ends the agent as a power cut would.
func (s *station) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// reload makes the agent read its file again and waits for what it says to that.
func (s *station) reload(says string) {
	s.t.Helper()
	n := strings.Count(s.log.String(), says)
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		s.t.Fatal(err)
	}
	until(s.t, says, func() bool { return strings.Count(s.log.String(), says) > n })
}

// associations are what `sallyport-agent sa` prints, by direction and SPI.
func (s *station) associations() map[string]local.Association {
	s.t.Helper()
	var list []local.Association
	s.ask("sa", &list)
	found := make(map[string]local.Association)
	for _, a := range list {
		found[fmt.Sprintf("%s %#x", a.Direction, a.SPI)] = a
	}
	return found
}

func (s *station) ask(what string, answer any) {
	s.t.Helper()
	var out, errs bytes.Buffer
	if status := run(s.t.Context(), []string{what, "-o", "json", "--run-dir", filepath.Join(s.dir, "run")}, &out, &errs); status != 0 {
		s.t.Fatalf("%s: status %d, %s\n%s", what, status, errs.String(), s.log)
	}
	if err := json.Unmarshal(out.Bytes(), answer); err != nil {
		s.t.Fatal(err)
	}
}

func prefix(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }

func newStations(t *testing.T) (left, right *station) {
	t.Helper()
	a, b := nstest.New(t), nstest.New(t)
	binary := filepath.Join(t.TempDir(), "sallyport-agent")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	nstest.Connect(t, a, "eth0", append(prefix("192.0.2.1/24"), prefix("fd16::1/64")...), b, "eth0", append(prefix("192.0.2.2/24"), prefix("fd16::2/64")...))
	left = &station{Namespace: a, t: t, binary: binary, dir: t.TempDir()}
	right = &station{Namespace: b, t: t, binary: binary, dir: t.TempDir()}
	for i, s := range []*station{left, right} {
		s.Run("ip", "addr", "add", fmt.Sprintf("10.%d.0.1/32", i+1), "dev", "lo")
		s.Run("ip", "route", "add", fmt.Sprintf("10.%d.0.0/24", 2-i), "via", fmt.Sprintf("192.0.2.%d", 2-i), "src", fmt.Sprintf("10.%d.0.1", i+1))
		t.Cleanup(s.kill)
	}
	return left, right
}

// echo sends text over TCP from one host to another and back.
func echo(from, to *station, address string) error {
	var listener net.Listener
	var conn net.Conn
	var err error
	to.Do(func() { listener, err = net.Listen("tcp", net.JoinHostPort(address, "7007")) })
	if err != nil {
		return err
	}
	defer listener.Close()
	go func() {
		if c, err := listener.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			c.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(from.t.Context(), 5*time.Second)
	defer cancel()
	from.Do(func() { conn, err = new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String()) })
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	text := bytes.Repeat([]byte("sallyport "), 5000)
	go func() { _, _ = conn.Write(text) }()
	back := make([]byte, len(text))
	if _, err := io.ReadFull(conn, back); err != nil {
		return err
	}
	if !bytes.Equal(back, text) {
		return fmt.Errorf("other bytes came back")
	}
	return nil
}

// keys is n bytes in hexadecimal, others for each seed.
func keys(seed, n int) string { return strings.Repeat(fmt.Sprintf("%02x", seed), n) }

// ends writes the files of both ends: the policy's sides, SPIs and keys are those of the other one.
func ends(policy string, seed int) (left, right string) {
	const head = "insecure: true\ndefault: bypass\npolicies:\n- name: peer\n  action: protect\n"
	a := fmt.Sprintf("{spi: %d, key: %q}", 4096+seed, keys(seed, 48))
	b := fmt.Sprintf("{spi: %d, key: %q}", 8192+seed, keys(seed+1, 48))
	fill := func(n, o int, in, out string) string {
		return head + strings.NewReplacer("LOCAL", fmt.Sprint(n), "REMOTE", fmt.Sprint(o)).Replace(policy) + "  in: " + in + "\n  out: " + out + "\n"
	}
	return fill(1, 2, a, b), fill(2, 1, b, a)
}

const tunnelPolicy = `  local: [10.LOCAL.0.0/24]
  remote: [10.REMOTE.0.0/24]
  proposal: aes128-sha256
  remote-address: 192.0.2.REMOTE
`

func TestManual(t *testing.T) {
	left, right := newStations(t)
	one, other := ends(tunnelPolicy, 16)
	left.save(one)
	right.save(other)
	left.start()
	right.start()
	if err := echo(left, right, "10.2.0.1"); err != nil {
		t.Fatalf("%v\n%s\n%s", err, left.log, right.log)
	}
	if err := echo(left, right, "192.0.2.2"); err != nil {
		t.Errorf("what no policy matches does not pass: %v", err)
	}
	out := left.associations()["out 0x2010"]
	if out.Packets == 0 || out.Sequence == 0 || out.Proposal != "aes128-sha256" || out.Host != "peer" {
		t.Errorf("%+v", out)
	}
	var status local.Status
	left.ask("status", &status)
	if status.Manual != left.file() || status.PairsUp != 1 || status.Uplink.Connected {
		t.Errorf("%+v", status)
	}
	var policies []local.Entry
	left.ask("policy", &policies)
	if len(policies) != 1 || policies[0].Policy != "peer" {
		t.Errorf("%+v", policies)
	}
	var counters local.Counters
	left.ask("counters", &counters)
	if counters.OutPackets == 0 || counters.InPackets == 0 {
		t.Errorf("%+v", counters)
	}

	// A killed agent does not send a number again, or the other end would take it for a replay.
	left.kill()
	left.start()
	if err := echo(left, right, "10.2.0.1"); err != nil {
		t.Errorf("after a kill: %v\n%s", err, left.log)
	}
	if again := left.associations()["out 0x2010"]; again.Sequence <= 1<<22 {
		t.Errorf("after a kill it goes on with %d", again.Sequence)
	}

	// A wrong file changes nothing.
	left.save(one + "  x: y\n")
	left.reload("everything stays as it is")
	if err := echo(left, right, "10.2.0.1"); err != nil {
		t.Errorf("with a wrong file: %v", err)
	}

	// New keys at both ends.
	one, other = ends(tunnelPolicy, 32)
	left.save(one)
	right.save(other)
	left.reload("file applied")
	right.reload("file applied")
	if err := echo(left, right, "10.2.0.1"); err != nil {
		t.Errorf("with new keys: %v\n%s\n%s", err, left.log, right.log)
	}
	if sas := left.associations(); sas["out 0x2020"].Packets == 0 || sas["out 0x2020"].Generation != 2 || sas["out 0x2010"].SPI != 0 {
		t.Errorf("%+v", sas)
	}

	// Without the other end's key nothing passes, and nothing in clear either.
	one, _ = ends(tunnelPolicy, 48)
	left.save(one)
	left.reload("file applied")
	if err := echo(left, right, "10.2.0.1"); err == nil {
		t.Error("it passes without a common key")
	}

	// Without the policy it goes in clear, once both ends say so.
	const clear = "default: bypass\npolicies: []\n"
	left.save(clear)
	right.save(clear)
	left.reload("file applied")
	right.reload("file applied")
	if err := echo(left, right, "10.2.0.1"); err != nil {
		t.Errorf("in clear: %v", err)
	}
}

func TestManualTransport(t *testing.T) {
	left, right := newStations(t)
	one, other := ends(`  local: ["fd16::LOCAL tcp"]
  remote: ["fd16::REMOTE tcp"]
  mode: transport
  encapsulation: native
  proposal: aes128-sha256
`, 16)
	left.save(one)
	right.save(other)
	left.start()
	right.start()
	if err := echo(left, right, "fd16::2"); err != nil {
		t.Fatalf("%v\n%s\n%s", err, left.log, right.log)
	}
	if out := left.associations()["out 0x2010"]; out.Packets == 0 || out.Mode != "transport" {
		t.Errorf("%+v", out)
	}
}

// A state directory whose numbers are not known any more keeps the agent from sending.
func TestManualDamagedSequence(t *testing.T) {
	left, _ := newStations(t)
	one, _ := ends(tunnelPolicy, 16)
	left.save(one)
	state := filepath.Join(left.dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, "manual-sequence.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(left.binary, "run", "--manual", left.file(), "--state-dir", state, "--run-dir", filepath.Join(left.dir, "run"))
	var out []byte
	var err error
	left.Do(func() { out, err = cmd.CombinedOutput() })
	if cmd.ProcessState.ExitCode() != exitFailure || !strings.Contains(string(out), "give every policy new keys") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestManualDiscardsTheRest: with `default: discard` nothing passes that no policy names, in either direction, and what
// is protected and the neighbours' discovery do.
func TestManualDiscardsTheRest(t *testing.T) {
	left, right := newStations(t)
	one, other := ends(tunnelPolicy, 16)
	left.save(strings.Replace(one, "default: bypass", "default: discard", 1))
	right.save(other)
	left.start()
	right.start()
	for _, s := range []*station{left, right} {
		s.Run("ip", "neigh", "flush", "all")
	}
	if err := echo(left, right, "10.2.0.1"); err != nil {
		t.Errorf("what is protected: %v\n%s", err, left.log)
	}
	if err := echo(right, left, "10.1.0.1"); err != nil {
		t.Errorf("what is protected, the other way: %v\n%s", err, left.log)
	}
	for _, c := range []struct {
		from, to *station
		address  string
	}{{left, right, "192.0.2.2"}, {right, left, "192.0.2.1"}, {left, right, "fd16::2"}, {right, left, "fd16::1"}} {
		if err := echo(c.from, c.to, c.address); err == nil {
			t.Errorf("a connection to %s passed", c.address)
		}
	}
	var counters local.Counters
	left.ask("counters", &counters)
	if counters.Guard["discarded"] == 0 {
		t.Errorf("%+v", counters)
	}
}
