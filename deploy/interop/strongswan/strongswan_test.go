//go:build linux

package strongswan

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/deploy/lab"
)

// The environment of TestStrongSwan.
const (
	// environmentReport, a file's name, asks for all scenarios and for the report in that file.
	environmentReport = "INTEROP_STRONGSWAN_REPORT"
	// environmentScenarios, a regular expression, asks for those whose name matches.
	environmentScenarios = "INTEROP_STRONGSWAN"
)

// few are the scenarios of a run that asks for nothing else.
const few = `^psk-[12]-`

func TestStrongSwan(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces, TUN devices, nftables")
	}
	programs, err := FindPrograms()
	if err != nil {
		t.Skip(err)
	}
	report, wanted := os.Getenv(environmentReport), few
	if report != "" {
		wanted = "."
	}
	if text := os.Getenv(environmentScenarios); text != "" {
		wanted = text
	}
	chosen := regexp.MustCompile(wanted)
	all, err := Scenarios()
	if err != nil {
		t.Fatal(err)
	}
	binaries := build(t)
	begin := time.Now()
	var results []Result
	for _, nat := range []string{"", "ours", "theirs"} {
		var bed *Bed
		for _, s := range all {
			if s.NAT != nat || !chosen.MatchString(s.Name) {
				continue
			}
			if bed == nil {
				bed = openBed(t, binaries, programs, nat)
			}
			t.Run(s.Name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
				defer cancel()
				started := time.Now()
				err := bed.Run(ctx, s)
				results = append(results, Result{Scenario: s, Err: err, Took: time.Since(started)})
				if err != nil {
					t.Error(err)
				}
			})
		}
		if bed != nil {
			if err := bed.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if report != "" {
		write(t, report, Report{Date: time.Now(), StrongSwan: programs.Version(), Results: results, Took: time.Since(begin)})
	}
}

func openBed(t *testing.T, binaries lab.Binaries, programs Programs, nat string) *Bed {
	t.Helper()
	owner, err := lab.Self()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	config := lab.Config{Name: fmt.Sprintf("ss%d%s", os.Getpid(), nat), Owner: owner, Binaries: binaries}
	bed, err := OpenBed(ctx, config, programs, nat)
	if err != nil {
		t.Fatal(err)
	}
	return bed
}

// build makes the programs under test.
func build(t *testing.T) lab.Binaries {
	t.Helper()
	folder := t.TempDir()
	b := lab.Binaries{
		Controller: filepath.Join(folder, "sallyport-controller"), Agent: filepath.Join(folder, "sallyport-agent"), CLI: filepath.Join(folder, "sallyport"),
	}
	for out, pkg := range map[string]string{b.Controller: "controller", b.Agent: "agent", b.CLI: "controller/sallyport"} {
		cmd := exec.Command("go", "build", "-o", out, "./"+pkg)
		cmd.Dir = "../../.."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, said)
		}
	}
	return b
}

func write(t *testing.T, name string, r Report) {
	t.Helper()
	var b strings.Builder
	r.Write(&b)
	if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
		t.Error(err)
	}
}

// TestReadSAs reads what swanctl has printed.
func TestReadSAs(t *testing.T) {
	const text = `peer: #1, ESTABLISHED, IKEv2, 8012c5a4b1d0e3f2_i 0a1b2c3d4e5f6071_r*
  local  '10.99.0.12' @ 10.99.0.12[4500]
  remote '10.99.0.11' @ 10.99.0.11[4500]
  AES_GCM_16-256/PRF_HMAC_SHA2_384/CURVE_25519
  net: #1, reqid 1, INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-256
    installed 2s ago
    in  c5d6e7f8,      0 bytes,     0 packets
    out 80a1b2c3,      0 bytes,     0 packets
    local  10.50.2.0/24
    remote 10.50.1.0/24
`
	got := fmt.Sprint(readSAs(text))
	if want := "[{8012c5a4b1d0e3f2 0a1b2c3d4e5f6071 [{80a1b2c3 c5d6e7f8 both}]}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
