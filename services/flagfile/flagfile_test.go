package flagfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

type options struct {
	listen  string
	port    int
	mesh    bool
	timeout time.Duration
	peers   []string
}

func newFlags() (*pflag.FlagSet, *options) {
	o := &options{}
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.StringVar(&o.listen, "listen", ":1", "")
	f.IntVar(&o.port, "port", 1, "")
	f.BoolVar(&o.mesh, "mesh", false, "")
	f.DurationVar(&o.timeout, "timeout", time.Second, "")
	f.StringSliceVar(&o.peers, "peers", []string{"default"}, "")
	f.String("config", "", "")
	return f, o
}

func TestFileSetsFlags(t *testing.T) {
	f, o := newFlags()
	if err := f.Parse([]string{"--port=7"}); err != nil {
		t.Fatal(err)
	}
	err := apply(f, []byte("# comment\nlisten: '[::]:7443'\nport: 9\nmesh: true\ntimeout: 3s\npeers:\n  - a\n  - b,c\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := options{listen: "[::]:7443", port: 7, mesh: true, timeout: 3 * time.Second, peers: []string{"a", "b,c"}}
	if o.listen != want.listen || o.port != want.port || o.mesh != want.mesh || o.timeout != want.timeout || !slices.Equal(o.peers, want.peers) {
		t.Errorf("got %+v, want %+v", *o, want)
	}
}

// TestTextIsAsWritten: the flag converts, not YAML.
func TestTextIsAsWritten(t *testing.T) {
	for text, want := range map[string]string{
		"listen: no": "no", "listen: 0123": "0123", "listen: 1_000": "1_000", "listen: 1.10": "1.10",
		"listen: true": "true", "listen: ::1": "::1", "listen: fd00::1": "fd00::1", "listen: |\n  a\n  b\n": "a\nb",
		"listen: 2026-01-31": "2026-01-31", "peers: &p [a]\nlisten: &l x": "x", "listen: \"\"": "",
	} {
		f, o := newFlags()
		if err := apply(f, []byte(text)); err != nil && want != "" || err == nil && o.listen != want {
			t.Errorf("%q: got %q, %v, want %q", text, o.listen, err, want)
		}
	}
	f, o := newFlags()
	if err := apply(f, []byte("peers: [10.50.1.0/24, fd50:0:0:1::/64]\n")); err != nil || !slices.Equal(o.peers, []string{"10.50.1.0/24", "fd50:0:0:1::/64"}) {
		t.Errorf("got %q, %v", o.peers, err)
	}
}

func TestEmptyFilesAreFine(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "~", "\ufeff# mark\n"} {
		f, _ := newFlags()
		if err := apply(f, []byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestErrorsNameLineAndKey(t *testing.T) {
	for text, want := range map[string]string{
		"listen: a\nlisten: b\n":          `2: "listen" is given twice: first on line 1`,
		"listen: a\nlissten: b\n":         `2: unknown key "lissten"`,
		"config: other.yaml\n":            `1: unknown key "config"`,
		"port: many\n":                    "1: port:",
		"\nport: [1, 2]\n":                "2: port: want one value, not 2",
		"peers:\n  a: b\n":                "1: peers: want a value or a list of values",
		"- a\n- b\n":                      "1: want lines of the form key: value",
		"listen: a\n---\nlisten: b\n":     "2: one document only",
		"listen: \"unterminated\nport: 1": "1: not YAML",
		"port: 1\nlisten: *:7443\n":       `2: a * or &`,
		"port:\n":                         "1: port: want a value or a list of values",
		"port: !!int 1\n":                 "1: tags are not supported",
		"timeout: 5\n":                    "1: timeout:",
	} {
		f, _ := newFlags()
		err := apply(f, []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestApplyNamesTheFile(t *testing.T) {
	f, _ := newFlags()
	path := filepath.Join(t.TempDir(), "agent.yaml")
	if err := Apply(f, path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("nonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Apply(f, path); err == nil || !strings.HasPrefix(err.Error(), path+":1: ") {
		t.Errorf("unknown key: %v", err)
	}
}

func FuzzApply(f *testing.F) {
	f.Add([]byte("listen: a\npeers: [b, c]\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		flags, _ := newFlags()
		_ = apply(flags, raw)
	})
}
