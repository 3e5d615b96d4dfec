package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// clock are the functions of package time that read or wait for the clock.
var clock = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}

// TestProtocolHasNoClockAndNoGoroutine looks for what an import list does not show.
func TestProtocolHasNoClockAndNoGoroutine(t *testing.T) {
	for _, p := range list(t, "./services/protocol/...") {
		for _, name := range p.GoFiles {
			inspect(t, filepath.Join(p.Dir, name), func(fset *token.FileSet, n ast.Node) {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s: protocol starts no goroutine", fset.Position(n.Pos()))
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clock, n.Sel.Name) {
						t.Errorf("%s: protocol does not use time.%s", fset.Position(n.Pos()), n.Sel.Name)
					}
				}
			})
		}
	}
}

// TestNoInit: there are no registries, so nothing needs init.
func TestNoInit(t *testing.T) {
	for _, p := range list(t, "./...") {
		for _, name := range p.GoFiles {
			if strings.HasSuffix(name, ".pb.go") {
				continue
			}
			inspect(t, filepath.Join(p.Dir, name), func(fset *token.FileSet, n ast.Node) {
				if f, ok := n.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s: no init functions", fset.Position(n.Pos()))
				}
			})
		}
	}
}

func inspect(t *testing.T, file string, visit func(*token.FileSet, ast.Node)) {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if n != nil {
			visit(fset, n)
		}
		return true
	})
}

// TestTopLevelFolders: the layout is fixed.
func TestTopLevelFolders(t *testing.T) {
	cmd := exec.Command("git", "ls-files")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("not a git checkout: %v", err)
	}
	fixed := []string{".ci", "agent", "api", "controller", "deploy", "services"}
	for file := range strings.Lines(string(out)) {
		if folder, _, found := strings.Cut(file, "/"); found && !slices.Contains(fixed, folder) {
			t.Errorf("%s: the top level has the folders %v and no other", strings.TrimSpace(file), fixed)
		}
	}
}
