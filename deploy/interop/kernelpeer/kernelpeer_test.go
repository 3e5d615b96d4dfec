//go:build linux

package kernelpeer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// machine makes a root with kernels; one named without modules.dep begins with "-".
func machine(t *testing.T, releases ...string) string {
	t.Helper()
	root := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range releases {
		release, bare := strings.CutPrefix(r, "-")
		write("boot/vmlinuz-"+release, "image")
		if !bare {
			write("lib/modules/"+release+"/modules.dep", "")
		}
	}
	return root
}

func TestFind(t *testing.T) {
	root := machine(t, "6.1.0-9-amd64", "6.1.0-56-amd64", "6.1.0-60-cloud-amd64", "6.1.0-61-rt-amd64", "-6.1.0-70-amd64")
	k, err := Find(root)
	if err != nil {
		t.Fatal(err)
	}
	want := Kernel{"6.1.0-56-amd64", filepath.Join(root, "boot/vmlinuz-6.1.0-56-amd64"), filepath.Join(root, "lib/modules/6.1.0-56-amd64")}
	if k != want {
		t.Errorf("found %+v", k)
	}
	for _, root := range []string{machine(t, "6.1.0-60-cloud-amd64"), t.TempDir()} {
		if k, err := Find(root); !errors.Is(err, ErrNoKernel) {
			t.Errorf("found %+v, %v", k, err)
		}
	}
}

func TestModulesComeBehindWhatTheyNeed(t *testing.T) {
	folder := t.TempDir()
	const dep = `kernel/net/esp4.ko.xz: kernel/net/xfrm_algo.ko.xz
kernel/net/xfrm-user.ko.xz: kernel/net/xfrm_algo.ko.xz kernel/deep.ko
kernel/net/xfrm_algo.ko.xz:
kernel/deep.ko:
`
	if err := os.WriteFile(filepath.Join(folder, "modules.dep"), []byte(dep), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := readDependencies(folder)
	if err != nil {
		t.Fatal(err)
	}
	got := d.order([]string{"absent", "esp4", "xfrm_user", "xfrm_algo"})
	want := []string{"kernel/net/xfrm_algo.ko.xz", "kernel/net/esp4.ko.xz", "kernel/deep.ko", "kernel/net/xfrm-user.ko.xz"}
	if !slices.Equal(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
}

// TestArchive reads the archive back: every entry stands where the numbers of the one before it say.
func TestArchive(t *testing.T) {
	var a archive
	a.add("dev", modeFolder|0o755, nil)
	a.add("init", modeFile|0o755, []byte("hello"))
	b := a.bytes()
	var got []string
	for len(b) > 0 {
		var mode, size, name int
		if _, err := fmt.Sscanf(string(b[:110]), "070701%8X", new(int)); err != nil {
			t.Fatal(err)
		}
		number := func(field int) (n int) {
			if _, err := fmt.Sscanf(string(b[6+8*field:14+8*field]), "%X", &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		mode, size, name = number(1), number(6), number(11)
		begin := (110 + name + 3) &^ 3
		got = append(got, fmt.Sprintf("%s %o %s", bytes.TrimRight(b[110:110+name], "\x00"), mode, b[begin:begin+size]))
		b = b[min(len(b), (begin+size+3)&^3):]
	}
	want := []string{"dev 40755 ", "init 100755 hello", "TRAILER!!! 0 "}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
