package manual

import (
	"fmt"
	"io"
	"os"
)

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int) ([]byte, error) {
	text, _, err := readWithMode(path, limit)
	return text, err
}

// readWithMode also returns the mode of what it has read.
func readWithMode(path string, limit int) ([]byte, os.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(text) > limit {
		clear(text)
		err = fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	return text, info.Mode().Perm(), err
}

// checkMode refuses a file with keys that others can read, and any that others can write.
func checkMode(path string, mode os.FileMode, hasKeys bool) error {
	switch {
	case hasKeys && mode&0o077 != 0:
		return fmt.Errorf("%w: %s has mode %04o and holds keys: run chmod 600 %s, and change the keys if somebody may have read them", ErrReadable, path, mode, path)
	case mode&0o022 != 0:
		return fmt.Errorf("%w: %s has mode %04o, so that others can change it: run chmod 600 %s", ErrReadable, path, mode, path)
	}
	return nil
}
