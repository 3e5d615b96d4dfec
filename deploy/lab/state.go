//go:build linux

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// state is what a lab's directory records, so that any later process can work with it or remove it.
type state struct {
	Config    Config             `json:"config"`
	Processes map[string]Process `json:"processes"` // by node
}

// Root is the directory in which every lab of this user has its own.
func Root() string {
	if dir := os.Getenv("SALLYPORT_LAB_DIR"); dir != "" {
		return dir
	}
	if dir, err := rootlessDir(); err == nil && insideUserNamespace() {
		return filepath.Join(dir, "lab")
	}
	return "/run/sallyport-lab"
}

func dirOf(name string) string { return filepath.Join(Root(), name) }

func stateFile(name string) string { return filepath.Join(dirOf(name), "lab.json") }

// load reads a lab's record. os.ErrNotExist: there is no such lab.
func load(name string) (state, error) {
	var s state
	raw, err := os.ReadFile(stateFile(name))
	if err != nil {
		return s, fmt.Errorf("lab: %w", err)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return s, fmt.Errorf("lab: %s: %w", stateFile(name), err)
	}
	return s, nil
}

// save replaces a lab's record whole, so that a kill leaves the old one or the new one.
func (s state) save() error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	path := stateFile(s.Config.Name)
	if err := os.WriteFile(path+".new", raw, 0o600); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// lock serialises starts and stops of all labs of this user. The kernel drops it with the process.
func lock() (unlock func(), err error) {
	if err := os.MkdirAll(Root(), 0o700); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(Root(), ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lab: lock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// remove ends a lab's processes and takes away its namespaces and its directory.
func (s state) remove(ctx context.Context) error {
	var errs []error
	for _, p := range s.Processes {
		errs = append(errs, p.kill(ctx))
	}
	errs = append(errs, demolish(ctx, s.Config))
	if err := errors.Join(errs...); err != nil {
		return err // keep the record: the next start tries again
	}
	if err := os.RemoveAll(dirOf(s.Config.Name)); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// sweep removes every lab whose owner is gone.
func sweep(ctx context.Context) error {
	names, err := List()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		s, err := load(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if s.Config.Owner != (Process{}) && !s.Config.Owner.Alive() {
			errs = append(errs, s.remove(ctx))
		}
	}
	return errors.Join(errs...)
}

// List names the labs of this user.
func List() ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(Root(), "*", "lab.json"))
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	names := make([]string, 0, len(paths))
	for _, p := range paths {
		names = append(names, filepath.Base(filepath.Dir(p)))
	}
	return names, nil
}
