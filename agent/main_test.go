package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/sallyport/agent/uplink"
)

func TestBadUsage(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	state := []string{"--state-dir", filepath.Join(dir, "state"), "--run-dir", filepath.Join(dir, "run")}
	cases := map[string]struct {
		args   []string
		status int
		says   string
	}{
		"no controller":     {[]string{"run"}, exitUsage, "--controller HOST:PORT"},
		"two sources":       {[]string{"run", "--controller", "x:1", "--manual", "x"}, exitUsage, "not from both"},
		"manual and token":  {[]string{"run", "--manual", "x", "--join-token", "a"}, exitUsage, "does without one"},
		"no manual file":    {[]string{"run", "--manual", filepath.Join(dir, "none")}, exitUsage, "none"},
		"bad manual file":   {[]string{"run", "--manual", file("m.yaml", "default: bypass\npolicy: []\n")}, exitUsage, "m.yaml:2:1: unknown field"},
		"no port":           {[]string{"run", "--controller", "vpn"}, exitUsage, "want HOST:PORT"},
		"unknown flag":      {[]string{"run", "--contoller", "x:1"}, exitUsage, "unknown flag"},
		"unknown key":       {[]string{"run", "--config", file("a.yaml", "controller: x:1\n\nmut: 1400\n")}, exitUsage, `a.yaml:3: unknown key "mut"`},
		"no file":           {[]string{"run", "--config", filepath.Join(dir, "none")}, exitUsage, "none"},
		"bad token":         {[]string{"run", "--controller", "x:1", "--join-token", "secret"}, exitUsage, "not a join token"},
		"bad token file":    {[]string{"run", "--controller", "x:1", "--join-token-file", file("t", "sp1.aaaa")}, exitUsage, "join token from"},
		"two tokens":        {[]string{"run", "--controller", "x:1", "--join-token", "a", "--join-token-file", "b"}, exitUsage, "not both"},
		"small MTU":         {[]string{"run", "--controller", "x:1", "--mtu", "1000"}, exitUsage, "1280"},
		"log level":         {[]string{"run", "--controller", "x:1", "--log-level", "loud"}, exitUsage, "debug, info"},
		"no agent":          {[]string{"status", "--run-dir", dir}, exitFailure, "no agent answers"},
		"output":            {[]string{"sa", "-o", "xml"}, exitUsage, "table or json"},
		"table of others":   {[]string{"cleanup", "--table", "254", "--state-dir", dir}, exitUsage, "belong to the system"},
		"nothing to do":     {[]string{"version"}, 0, ""},
		"too many operands": {[]string{"status", "x"}, exitUsage, "unknown command"},
		"unknown command":   {[]string{"strat"}, exitUsage, "unknown command"},
		"unknown guard":     {[]string{"guard", "restroe"}, exitUsage, "unknown command"},
		"help":              {[]string{"guard"}, 0, ""},
		"mark 0":            {[]string{"run", "--controller", "x:1", "--mark", "0"}, exitUsage, "--mark 0"},
		"port 0":            {[]string{"run", "--controller", "x:1", "--listen-port", "0"}, exitUsage, "--listen-port 0"},
		"table":             {[]string{"run", "--controller", "x:1", "--table", "40000"}, exitUsage, "--table 40000"},
		"TUN":               {[]string{"run", "--controller", "x:1", "--tun", "a name of more than 15"}, exitUsage, "TUN name"},
		"service name":      {[]string{"run", "--controller", "x:no-such-service"}, exitUsage, "no-such-service"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			args := c.args
			if args[0] == "run" {
				args = append(args, state...)
			}
			var out, errs bytes.Buffer
			if status := run(t.Context(), args, &out, &errs); status != c.status || !strings.Contains(errs.String(), c.says) {
				t.Errorf("status %d, %s", status, errs.String())
			}
			if strings.Contains(errs.String(), "secret") && name == "bad token" {
				t.Error("the token is printed")
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "state")); err == nil {
		t.Error("a refused command line made the state directory")
	}
}

func TestRunNeedsPrivileges(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may open a TUN")
	}
	dir := t.TempDir()
	var out, errs bytes.Buffer
	args := []string{"run", "--controller", "127.0.0.1:1", "--state-dir", filepath.Join(dir, "s"), "--run-dir", filepath.Join(dir, "r")}
	if status := run(t.Context(), args, &out, &errs); status != exitFailure || !strings.Contains(errs.String(), "root") {
		t.Errorf("status %d, %s", status, errs.String())
	}
}

func TestCleanupSparesALivingAgent(t *testing.T) {
	dir := t.TempDir()
	state, err := uplink.OpenState(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer state.Close()
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"cleanup", "--state-dir", dir}, &out, &errs); status != exitFailure || !strings.Contains(errs.String(), "stop the agent first") {
		t.Errorf("status %d, %s", status, errs.String())
	}
}

func TestExitStatus(t *testing.T) {
	for want, err := range map[int]error{
		exitRemoved: fmt.Errorf("x: %w", uplink.ErrRemoved), exitJoin: fmt.Errorf("x: %w", uplink.ErrJoinRefused),
		exitUsage: usageError{errors.New("x")}, exitFailure: errors.New("x"), 0: nil,
	} {
		if got := exitStatus(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
	if got := exitStatus(uplink.ErrNoToken); got != exitJoin {
		t.Errorf("no token: %d", got)
	}
}

// TestNoKeyLeavesAProductionBinary: only binaries made for tests know the variable that exports keys.
func TestNoKeyLeavesAProductionBinary(t *testing.T) {
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range sources {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tagged := bytes.HasPrefix(text, []byte("//go:build sallyport_testkeys\n"))
		if bytes.Contains(text, []byte("SALLYPORT_TEST_"+"EXPORT_KEYS")) && !tagged {
			t.Errorf("%s has the export without its build tag", path)
		}
	}
}
