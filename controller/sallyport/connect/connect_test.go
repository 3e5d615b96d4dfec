package connect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/sallyport/controller/sallyport/exit"
)

func env(values map[string]string) func(string) string {
	return func(k string) string { return values[k] }
}

func TestFind(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".config", "sallyport"), 0o700); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(home, ".config", "sallyport", "operator.yaml")
	if err := os.WriteFile(own, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		o    Options
		env  map[string]string
		want Target
	}{
		{"flag credential", Options{Credential: "c"}, map[string]string{EnvSocket: "x", "HOME": home}, Target{Credential: "c"}},
		{"flag socket", Options{Socket: "s"}, map[string]string{EnvCredential: "x"}, Target{Socket: "s"}},
		{"env credential", Options{}, map[string]string{EnvCredential: "c", EnvSocket: "s"}, Target{Credential: "c"}},
		{"env socket", Options{}, map[string]string{EnvSocket: "s", "HOME": home}, Target{Socket: "s"}},
		{"home", Options{}, map[string]string{"HOME": home}, Target{Credential: own}},
		{"xdg", Options{}, map[string]string{"HOME": "/none", "XDG_CONFIG_HOME": filepath.Join(home, ".config")}, Target{Credential: own}},
	} {
		tc.o.Getenv = env(tc.env)
		got, err := tc.o.Find()
		if err != nil || got != tc.want {
			t.Errorf("%s: %v, %v, want %v", tc.name, got, err, tc.want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	readable := filepath.Join(t.TempDir(), "operator.yaml")
	if err := os.WriteFile(readable, []byte("server: a:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(readable, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		o      Options
		status int
		want   string
	}{
		{Options{Credential: "c", Socket: "s"}, exit.Usage, "exclude each other"},
		{Options{Socket: "s", Server: "a:1"}, exit.Usage, "--server needs a credential"},
		{Options{Credential: "/none/operator.yaml"}, exit.Permission, "/none/operator.yaml"},
		{Options{Credential: readable}, exit.Permission, "chmod 600"},
	} {
		tc.o.Getenv = env(nil)
		_, err := Open(tc.o)
		if err == nil || exit.Status(err) != tc.status || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Open(%+v): %v (status %d), want %q and %d", tc.o, err, exit.Status(err), tc.want, tc.status)
		}
	}
}
