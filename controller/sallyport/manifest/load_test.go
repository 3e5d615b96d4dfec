package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func named(name string) string { return "kind: Host\nmetadata: {name: " + name + "}\n" }

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"b.yml": named("b"), "a.yaml": named("a"), "c.txt": "no", ".hidden.yaml": "no"})
	docs, _, err := Load([]string{dir, "-"}, strings.NewReader(named("stdin")))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range docs {
		names = append(names, d.Name)
	}
	if got := strings.Join(names, " "); got != "a b stdin" {
		t.Errorf("read %s", got)
	}
	if docs[2].Position.String() != "-:1:1" {
		t.Errorf("stdin is at %s", docs[2].Position)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a.yaml": named("x"), "b.yaml": named("x")})
	for _, tc := range []struct {
		paths []string
		want  string
	}{
		{[]string{filepath.Join(dir, "none.yaml")}, "no such file"},
		{[]string{t.TempDir()}, "no *.yaml or *.yml file"},
		{[]string{"-", "-"}, "named twice"},
		{[]string{dir}, "b.yaml:1:1: host/x is already at " + filepath.Join(dir, "a.yaml") + ":1:1"},
	} {
		_, _, err := Load(tc.paths, strings.NewReader(""))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Load(%s): %v, want %q", tc.paths, err, tc.want)
		}
	}
}
