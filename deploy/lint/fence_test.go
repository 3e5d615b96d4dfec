package lint

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "sallyport.dev/sallyport/"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath string
	Standard   bool
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

func (p pkg) local() string { return strings.TrimPrefix(p.ImportPath, module) }

// list returns the packages that match the patterns, for Linux.
func list(t *testing.T, patterns ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Standard,Dir,GoFiles,Imports,Deps"}, patterns...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) == 0 {
		t.Fatal("go list found no package")
	}
	return pkgs
}

// impure are the standard packages that do I/O, read a clock, log, or run things concurrently.
var impure = []string{"context", "database/sql", "expvar", "log", "net", "os", "plugin", "runtime", "sync", "syscall", "testing", "unsafe"}

func isImpure(path string) bool {
	if path == "net/netip" || path == "net/url" {
		return false
	}
	return slices.ContainsFunc(impure, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
}

// meeting are the packages under services/ at which services meet.
var meeting = []string{"services/atomicfile", "services/caller", "services/dial", "services/fault", "services/store", "services/world", "services/yamldoc"}

func under(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

// allowed says whether package from may import package to, both below the module's root.
func allowed(from, to string) bool {
	switch {
	case under(to, "api"):
		return !under(from, "services/protocol")
	case under(from, "api"):
		return false
	case under(from, "services/protocol"):
		return under(to, "services/protocol")
	case under(from, "services"):
		own := strings.Join(strings.SplitN(from, "/", 3)[:2], "/")
		return under(to, own) || under(to, "services/protocol") ||
			slices.ContainsFunc(meeting, func(m string) bool { return under(to, m) })
	case under(from, "agent"):
		return under(to, "agent") || under(to, "services")
	case under(from, "controller/sallyport"):
		return under(to, "controller/sallyport") || under(to, "services") || under(to, "deploy/lab")
	case under(from, "controller"):
		return under(to, "controller") || under(to, "services")
	case under(from, "deploy"):
		return under(to, "deploy") || under(to, "services")
	}
	return false
}

func TestImportsFollowTheMap(t *testing.T) {
	for _, p := range list(t, "./...") {
		for _, imp := range p.Imports {
			if to, ours := strings.CutPrefix(imp, module); ours && !allowed(p.local(), to) {
				t.Errorf("%s may not import %s", p.local(), to)
			}
		}
	}
}

func TestProtocolIsPure(t *testing.T) {
	standard := map[string]bool{}
	for _, p := range list(t, "std") {
		standard[p.ImportPath] = true
	}
	for _, p := range list(t, "./services/protocol/...") {
		for _, imp := range p.Imports {
			switch {
			case strings.HasPrefix(imp, module+"services/protocol/"), strings.HasPrefix(imp, "golang.org/x/crypto/"),
				imp == "golang.org/x/sys/cpu": // which instructions there are
			case !standard[imp]:
				t.Errorf("%s imports %s: protocol uses the standard library, golang.org/x/crypto and golang.org/x/sys/cpu only", p.local(), imp)
			case isImpure(imp):
				t.Errorf("%s imports %s: protocol does no I/O", p.local(), imp)
			}
		}
	}
}

// TestSmallBinariesDoNotLinkEtcd keeps the agent and the command line small.
func TestSmallBinariesDoNotLinkEtcd(t *testing.T) {
	for _, p := range list(t, "./agent", "./controller/sallyport") {
		for _, dep := range p.Deps {
			if strings.HasPrefix(dep, "go.etcd.io/") {
				t.Errorf("%s links %s", p.local(), dep)
			}
		}
	}
}
