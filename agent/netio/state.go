package netio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"sallyport.dev/sallyport/services/atomicfile"
)

// stateFile is what must be known at boot and by a cleanup after a kill: the configuration by which
// the installed things are found, and the prefixes to guard. It never holds a key.
const stateFile = "guard.json"

type state struct {
	TUNName string `json:"tun"`
	Port    uint16 `json:"port"`
	Mark    uint32 `json:"mark"`
	// ProtectMark is 0 in files of before there were policies: then it is Mark + 1.
	ProtectMark uint32  `json:"protect_mark,omitempty"`
	Table       int     `json:"table"`
	Preference  int     `json:"preference"`
	NFTable     string  `json:"nft_table"`
	Desired     Desired `json:"desired"`
	// SrcValidMark is the sysctl's value before we changed it; empty if we did not.
	SrcValidMark string `json:"src_valid_mark,omitempty"`
}

func newState(c Config, d Desired, srcValidMark string) *state {
	return &state{TUNName: c.TUNName, Port: c.Port, Mark: c.Mark, ProtectMark: c.ProtectMark, Table: c.Table,
		Preference: c.Preference, NFTable: c.NFTable, Desired: d, SrcValidMark: srcValidMark}
}

func (s *state) config(dir string) Config {
	return Config{TUNName: s.TUNName, Port: s.Port, Mark: s.Mark, ProtectMark: s.ProtectMark, Table: s.Table,
		Preference: s.Preference, NFTable: s.NFTable, StateDir: dir}
}

// loadState reads and checks the saved state; nil if there is none. The file is text for nft in the
// end, so it is checked like any input.
func loadState(dir string) (*state, error) {
	path := filepath.Join(dir, stateFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("netio: saved guard: %w", err)
	}
	s := new(state)
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(s); err != nil {
		return nil, fmt.Errorf("netio: saved guard %s is damaged (%w): remove it, and the agent will write it anew", path, err)
	}
	if s.ProtectMark == 0 {
		s.ProtectMark = s.Mark + 1
	}
	if err := s.config(dir).check(); err != nil {
		return nil, fmt.Errorf("saved guard %s: %w", path, err)
	}
	if s.Desired, err = s.Desired.normal(); err != nil {
		return nil, fmt.Errorf("saved guard %s: %w", path, err)
	}
	return s, nil
}

// save replaces the saved state; after a crash either the old or the new one is there.
func (s *state) save(dir string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("netio: save guard: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("netio: save guard: %w", err)
	}
	if err := atomicfile.Replace(filepath.Join(dir, stateFile), append(text, '\n')); err != nil {
		return fmt.Errorf("netio: save guard: %w", err)
	}
	return nil
}

func removeState(dir string) error {
	if err := os.Remove(filepath.Join(dir, stateFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("netio: remove saved guard: %w", err)
	}
	return nil
}
