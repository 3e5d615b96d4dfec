// Package atomicfile replaces files whole: after a crash the old content or the new one is there, never a part.
//
//	write NAME.123 ──▶ fsync ──▶ rename to NAME ──▶ fsync of the folder
package atomicfile

import (
	"os"
	"path/filepath"
)

// Replace gives the file at path this content and mode 0600, also if there was none. When it returns nil the
// content is on disk; when it does not, the old or the new content is there.
func Replace(path string, content []byte) error {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := os.CreateTemp(dir, name+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
