//go:build linux

package interop

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/deploy/interop/kernelpeer"
	"sallyport.dev/sallyport/deploy/interop/station"
)

// batch is the number of cases that are installed at once.
const batch = 100

// The environment of TestKernel.
const (
	// environmentReport, a file's name, asks for all cases and for the report in that file.
	environmentReport = "INTEROP_KERNEL_REPORT"
	// environmentBoth puts the guest's kernel at both ends.
	environmentBoth = "INTEROP_KERNEL_BOTH"
	// environmentCases, a regular expression, asks for all cases whose number, followed by their description, matches.
	environmentCases = "INTEROP_KERNEL_CASES"
)

// TestKernel runs cases between our agent and the guest's kernel. The package's comment draws the topology.
func TestKernel(t *testing.T) {
	report, chosen := os.Getenv(environmentReport), os.Getenv(environmentCases)
	cases, timeout := Pairwise(Matrix()), 5*time.Minute
	if report != "" || chosen != "" {
		cases, timeout = choose(t, chosen), 90*time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	begin := time.Now()
	lab := openLab(t, ctx)
	runner := &Runner{Log: t.Logf, Captures: t.ArtifactDir()} // kept with -artifacts, else removed
	var agent string
	if os.Getenv(environmentBoth) != "" {
		bothKernels(t, ctx, lab, runner)
		agent = "the same kernel"
	} else {
		runner.Wire = lab.Wire
		agent = withAgent(t, ctx, lab, runner)
		readerSees(t, ctx, lab)
	}
	results, notes := runCases(t, ctx, runner, cases)
	if report == "" {
		return
	}
	r := Report{Date: time.Now(), Kernel: lab.Kernel.Release, Agent: agent, Results: results, Notes: notes, Took: time.Since(begin)}
	file, err := os.Create(report)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := r.Write(file); err != nil {
		t.Fatal(err)
	}
}

// choose are the cases of the matrix that an expression matches.
func choose(t *testing.T, expression string) []Case {
	t.Helper()
	matches, err := regexp.Compile(expression)
	if err != nil {
		t.Fatalf("%s: %v", environmentCases, err)
	}
	return slices.DeleteFunc(Matrix(), func(c Case) bool { return !matches.MatchString(fmt.Sprintf("%d %v", c.Number, c)) })
}

func runCases(t *testing.T, ctx context.Context, runner *Runner, cases []Case) (results []Result, notes []string) {
	t.Helper()
	for part := range slices.Chunk(cases, batch) {
		begin := time.Now()
		got, said, err := runner.Batch(ctx, part)
		if err != nil {
			t.Fatal(err)
		}
		failed := 0
		for _, r := range got {
			if len(r.Failures) > 0 {
				failed++
			}
			for _, f := range r.Failures {
				t.Errorf("case %d, %v: %s", r.Number, r.Case, f)
			}
		}
		for _, n := range said {
			t.Errorf("cases %d to %d: %s", part[0].Number, part[len(part)-1].Number, n)
		}
		t.Logf("%d of %d cases passed in %v", len(got)-failed, len(got), time.Since(begin).Round(time.Second))
		results, notes = append(results, got...), append(notes, said...)
	}
	return results, notes
}

// openLab boots the guest, or skips the test with the reason.
func openLab(t *testing.T, ctx context.Context) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes a network namespace with a tap device")
	}
	kernel, err := kernelpeer.Find("/")
	if err != nil {
		t.Skip(err)
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip(kernelpeer.ErrNoEmulator)
	}
	folder := t.TempDir()
	program := build(t, folder, "guest", "./guest")
	begin := time.Now()
	lab, err := Open(ctx, kernel, folder, program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the guest's console:\n%s", lab.Console())
		}
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("kernel %s up in %v", kernel.Release, time.Since(begin).Round(time.Millisecond))
	return lab
}

// build makes a static binary of one of our packages.
func build(t *testing.T, folder, name, pkg string) string {
	t.Helper()
	version, err := exec.Command("git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		version = []byte("unknown") // not a checkout
	}
	path := filepath.Join(folder, name)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-X main.version="+strings.TrimSpace(string(version)), "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build %s: %v\n%s", pkg, err, out)
	}
	return path
}

// withAgent puts our agent at our end and the guest's kernel at the other. It returns the agent's version.
func withAgent(t *testing.T, ctx context.Context, lab *Lab, runner *Runner) string {
	t.Helper()
	var err error
	if runner.Theirs, err = NewKernelSide(ctx, Theirs, "eth0", lab.Guest); err != nil {
		t.Fatal(err)
	}
	agent := &AgentSide{Binary: build(t, lab.Folder, "sallyport-agent", "../../agent"), Lab: lab}
	if err := agent.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the agent's log:\n%s", agent.Said())
		}
		if err := agent.Clear(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	runner.Ours = agent
	out, err := exec.CommandContext(ctx, agent.Binary, "version").CombinedOutput()
	if err != nil {
		t.Fatalf("sallyport-agent version: %v: %s", err, out)
	}
	return "sallyport-agent " + strings.TrimSpace(string(out))
}

// readerSees proves, before anything is installed, that what passes in clear does not pass unseen.
func readerSees(t *testing.T, ctx context.Context, lab *Lab) {
	t.Helper()
	lab.Wire.Take()
	for _, f := range []Family{IPv4, IPv6} {
		echo := station.Echo{Source: outer(f, Ours), Destination: outer(f, Theirs), Size: 100, Secret: true, Timeout: echoTimeout}
		if err := lab.Here.Ping(ctx, echo); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(ctx, echoTimeout)
		for sources := map[netip.Addr]bool{}; !sources[echo.Source] || !sources[echo.Destination]; {
			if ctx.Err() != nil {
				t.Fatalf("an echo over IPv%d in clear was seen from %v only", f, sources)
			}
			for _, c := range lab.Wire.Take().Clear { // the reader may be a moment behind
				sources[c.Source] = sources[c.Source] || strings.Contains(c.What, "in clear")
			}
		}
		cancel()
	}
}

// bothKernels puts both ends into namespaces of the guest.
func bothKernels(t *testing.T, ctx context.Context, lab *Lab, runner *Runner) {
	t.Helper()
	script := `ip netns add a && ip netns add b
ip link add wire netns a type veth peer name wire netns b
for n in a b; do ip -n $n link set lo up; ip -n $n link set wire up; done`
	if _, err := lab.Guest.Run(ctx, script, nil); err != nil {
		t.Fatal(err)
	}
	var sides [2]Side
	for i, name := range []string{"a", "b"} {
		s, err := lab.StationInGuest(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		if sides[i], err = NewKernelSide(ctx, End(i), "wire", s); err != nil {
			t.Fatal(err)
		}
	}
	runner.Ours, runner.Theirs = sides[0], sides[1]
}
