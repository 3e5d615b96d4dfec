package manifest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Load reads every path: a file, a directory (its *.yaml and *.yml files by name, not those of
// directories in it) or "-" for stdin. The same resource twice is an error. Errors in files are of
// type Errors; notes say what was ignored.
func Load(paths []string, stdin io.Reader) (docs []*Document, notes []string, err error) {
	var errs Errors
	readStdin := false
	for _, path := range paths {
		files, err := expand(path)
		if err != nil {
			return nil, notes, err
		}
		for _, file := range files {
			if file == "-" && readStdin {
				return nil, notes, fmt.Errorf("standard input (-) is named twice")
			}
			readStdin = readStdin || file == "-"
			data, err := read(file, stdin)
			if err != nil {
				return nil, notes, err
			}
			found, ignored, err := Parse(file, data)
			notes = append(notes, ignored...)
			if bad, ok := err.(Errors); ok {
				errs = append(errs, bad...)
			}
			docs = append(docs, found...)
		}
	}
	errs = append(errs, duplicates(docs)...)
	if len(errs) > 0 {
		return nil, notes, errs
	}
	return docs, notes, nil
}

// expand returns the files of a path.
func expand(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); (ext == ".yaml" || ext == ".yml") && !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s: no *.yaml or *.yml file in this directory", path)
	}
	slices.Sort(files)
	return files, nil
}

// read returns a file's bytes, one more than the bound at most, so that Parse sees the excess.
func read(file string, stdin io.Reader) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(io.LimitReader(stdin, MaxFileSize+1))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxFileSize+1))
}

// duplicates finds resources that are written twice.
func duplicates(docs []*Document) Errors {
	var errs Errors
	first := make(map[string]*Document, len(docs))
	for _, d := range docs {
		if before, ok := first[d.Ref()]; ok {
			errs = append(errs, &Error{Position: d.Position, Message: fmt.Sprintf("%s is already at %s", d.Ref(), before.Position)})
			continue
		}
		first[d.Ref()] = d
	}
	return errs
}
