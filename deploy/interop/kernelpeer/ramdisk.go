//go:build linux

package kernelpeer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// ModulesFolder is where the RAM disk has the modules; their names sort in the order in which they are loaded.
const ModulesFolder = "/modules"

// ramdisk makes the guest's initial RAM disk: our program as /init, the modules, and the mount points.
func ramdisk(k Kernel, init string) ([]byte, error) {
	program, err := os.ReadFile(init)
	if err != nil {
		return nil, fmt.Errorf("kernelpeer: the guest's program: %w", err)
	}
	depends, err := readDependencies(k.Modules)
	if err != nil {
		return nil, err
	}
	var a archive
	for _, folder := range []string{"dev", "proc", "sys", "host", "layer", "root", ModulesFolder[1:]} {
		a.add(folder, modeFolder|0o755, nil)
	}
	a.add("init", modeFile|0o755, program)
	for i, file := range depends.order(wanted()) {
		module, err := readModule(filepath.Join(k.Modules, file))
		if err != nil {
			return nil, fmt.Errorf("kernelpeer: %w", err)
		}
		a.add(fmt.Sprintf("%s/%03d-%s", ModulesFolder[1:], i, moduleName(file)), modeFile|0o644, module)
	}
	return a.bytes(), nil
}

// The file types of a cpio entry's mode.
const (
	modeFile   = 0o100000
	modeFolder = 0o040000
)

// archive is a cpio archive in the "newc" form, the one that the kernel unpacks: per entry a magic, thirteen
// numbers of eight hexadecimal digits, the name with a NUL, the data, each filled to four bytes.
// Linux: Documentation/driver-api/early-userspace/buffer-format.rst.
type archive struct {
	out   bytes.Buffer
	inode int
}

func (a *archive) add(name string, mode uint32, data []byte) {
	a.inode++
	fmt.Fprintf(&a.out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	a.out.WriteString(name)
	a.out.WriteByte(0)
	a.fill()
	a.out.Write(data)
	a.fill()
}

func (a *archive) fill() {
	for a.out.Len()%4 != 0 {
		a.out.WriteByte(0)
	}
}

// bytes ends the archive and returns it.
func (a *archive) bytes() []byte {
	a.add("TRAILER!!!", 0, nil)
	return a.out.Bytes()
}
