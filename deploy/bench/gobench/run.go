package gobench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Program is a compiled test of a package.
type Program struct {
	path, folder string
}

// Build compiles the test of the package in folder, below the working directory. Close removes it.
func Build(ctx context.Context, folder string) (*Program, error) {
	temporary, err := os.MkdirTemp("", "sallyport-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	p := &Program{path: filepath.Join(temporary, "test"), folder: folder}
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", p.path, "./"+folder).CombinedOutput(); err != nil {
		_ = p.Close()
		return nil, fmt.Errorf("bench: go test -c ./%s: %w: %s", folder, err, out)
	}
	return p, nil
}

// Close removes the program.
func (p *Program) Close() error { return os.RemoveAll(filepath.Dir(p.path)) }

// Run runs the named benchmarks once, each for about d, on one core.
func (p *Program) Run(ctx context.Context, names []string, d time.Duration) (Round, error) {
	cmd := exec.CommandContext(ctx, p.path, "-test.run", "^$", "-test.bench", "^Benchmark("+strings.Join(names, "|")+")$",
		"-test.benchtime", d.String(), "-test.benchmem", "-test.cpu", "1")
	cmd.Dir = p.folder
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("bench: the benchmarks of ./%s: %w: %s", p.folder, err, out)
	}
	return parse(string(out))
}
