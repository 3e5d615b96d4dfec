package manual

import (
	"fmt"
	"os"
	"path/filepath"
)

const (
	// MaxFileSize is the longest file, bytes; yamldoc's.
	MaxFileSize = 1 << 20
	// maxKeyFile is the longest file with one key, bytes.
	maxKeyFile = 4096
)

// Load reads a file, and those that it names as key-file, relative to its folder. Errors: Errors; ErrReadable; that it cannot be read.
func Load(path string) (*File, error) {
	text, mode, err := readWithMode(path, MaxFileSize)
	defer clear(text)
	if err != nil {
		return nil, fmt.Errorf("manual: %w", err)
	}
	file, inline, err := parse(path, text, keyFiles(filepath.Dir(path)))
	if e := checkMode(path, mode, inline); e != nil { // before all else: an error may take a while to mend
		if file != nil {
			file.Clear()
		}
		return nil, e
	}
	return file, err
}

// keyFiles reads files with one key each.
func keyFiles(dir string) keyReader {
	return func(path string) ([]byte, error) {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		var mode os.FileMode
		text, mode, err := readWithMode(path, maxKeyFile)
		if err == nil {
			err = checkMode(path, mode, true)
		}
		if err != nil {
			clear(text)
			return nil, err
		}
		return text, nil
	}
}
