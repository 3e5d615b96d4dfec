//go:build linux

// Package kernelpeer boots the distribution's stock kernel, which has ESP, AH and XFRM, as a peer on a tap
// device, by qemu's software emulation: it needs no KVM and nothing of the running kernel but TUN.
//
//	network namespace                                 qemu
//	  tap device ═══════════ virtio-net ═══════════ eth0   guest kernel
//	  a listener  ◀────────── TCP, dialled ─────────────── package guest, its first process
//
// The guest's first process is our own static program (folder guest). It loads the modules of the initial RAM
// disk, makes this machine's file system its root, read-only below a layer of memory, and dials back; what it
// is then asked to do is in package station. It powers the guest off when that connection ends, so that no
// guest outlives the test.
package kernelpeer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ErrNoKernel: there is no stock kernel to boot. `make setup` installs it.
var ErrNoKernel = errors.New("kernelpeer: no stock kernel in /boot: apt-get install linux-image-amd64")

// Kernel is an installed kernel.
type Kernel struct {
	Release string // as in uname -r
	Image   string // the file to boot
	Modules string // the folder with modules.dep
}

// stock are the releases of Debian's linux-image-amd64. The cloud kernel has no 9p, so its guest has no root.
var stock = regexp.MustCompile(`^vmlinuz-(\d+\.\d+\.\d+-\d+-amd64)$`)

// Find returns the newest stock kernel below root, which is "/" but in tests. Error: ErrNoKernel.
func Find(root string) (Kernel, error) {
	entries, err := os.ReadDir(filepath.Join(root, "boot"))
	if err != nil {
		return Kernel{}, fmt.Errorf("%w (%v)", ErrNoKernel, err)
	}
	var found []Kernel
	for _, e := range entries {
		match := stock.FindStringSubmatch(e.Name())
		if match == nil {
			continue
		}
		k := Kernel{
			Release: match[1], Image: filepath.Join(root, "boot", e.Name()),
			Modules: filepath.Join(root, "lib/modules", match[1]),
		}
		if _, err := os.Stat(filepath.Join(k.Modules, "modules.dep")); err == nil {
			found = append(found, k)
		}
	}
	if len(found) == 0 {
		return Kernel{}, ErrNoKernel
	}
	return slices.MaxFunc(found, func(a, b Kernel) int { return compareRelease(a.Release, b.Release) }), nil
}

// compareRelease compares number by number: 6.1.0-9 is older than 6.1.0-56.
func compareRelease(a, b string) int {
	numbers := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	}
	return slices.CompareFunc(numbers(a), numbers(b), func(x, y string) int {
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		return strings.Compare(x, y)
	})
}
