package store

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// ErrSeal says that a sealed value cannot be opened: it is damaged, was sealed
// for another path, or its key is gone. It never says which.
var ErrSeal = errors.New("store: sealed value cannot be opened")

const rootKeyLen = 32

// KeyringConfig says where the sealing keys lie.
type KeyringConfig struct {
	RootKeyFile string // 32 bytes, 0600, outside DataDir; created when absent
	TrafficDir  string // hourly traffic keys, 0700, outside DataDir; created when absent
	DataDir     string // etcd's data directory; empty with an external cluster
	Now         func() time.Time
	Log         *slog.Logger // default: discard
}

// Keyring seals values before they reach etcd. It is safe for concurrent use.
// It must not be copied, printed or marshalled: its methods show no key.
type Keyring struct {
	root     []byte
	rootID   keyID
	rootFile string
	now      func() time.Time
	log      *slog.Logger

	dir   string // hourly keys
	mu    sync.Mutex
	fresh bool // the root key was made just now, and no database has it yet
	hours map[int64]*hourKey
}

// OpenKeyring reads the root key, and creates it on the first start. It refuses a key that lies in etcd's data directory, or that other
// users can read.
func OpenKeyring(c KeyringConfig) (*Keyring, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := c.checkPlaces(); err != nil {
		return nil, err
	}
	root, fresh, err := c.rootKey()
	if err != nil {
		return nil, err
	}
	id, err := rootKeyID(root)
	if err != nil {
		return nil, err
	}
	k := &Keyring{
		root: root, rootID: id, rootFile: c.RootKeyFile, fresh: fresh,
		now: c.Now, log: c.Log, dir: c.TrafficDir, hours: make(map[int64]*hourKey),
	}
	return k, k.openTrafficDir()
}

func (c KeyringConfig) checkPlaces() error {
	if c.RootKeyFile == "" || c.TrafficDir == "" {
		return errors.New("store: the keyring needs a root key file and a traffic key directory")
	}
	if c.DataDir == "" {
		return nil
	}
	for what, path := range map[string]string{"root key file": c.RootKeyFile, "traffic key directory": c.TrafficDir} {
		inside, err := within(path, c.DataDir)
		if err != nil {
			return fmt.Errorf("store: %s %s: %w", what, path, err)
		}
		if inside {
			return fmt.Errorf("store: the %s %s lies in etcd's data directory %s: a copy of the data would carry its key; choose another place",
				what, path, c.DataDir)
		}
	}
	return nil
}

// within reports whether path lies in dir, symbolic links followed.
func within(path, dir string) (bool, error) {
	path, err := realPath(path)
	if err != nil {
		return false, err
	}
	if dir, err = realPath(dir); err != nil {
		return false, err
	}
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return false, err
	}
	return rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)), nil
}

// realPath resolves the part of path that exists.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	var rest string
	for {
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			return "", err
		}
		rest = filepath.Join(filepath.Base(path), rest)
		path = filepath.Dir(path)
	}
}

// rootKey returns the key, and whether it was made just now.
func (c KeyringConfig) rootKey() (key []byte, fresh bool, err error) {
	key, err = readPrivate(c.RootKeyFile, rootKeyLen)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	made := randomKey()
	key, err = createPrivate(c.RootKeyFile, made)
	return key, bytes.Equal(key, made), err
}

// accepted notes that a database is sealed with the root key. A new one is announced loudly.
func (k *Keyring) accepted() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fresh {
		k.fresh = false
		k.log.Warn("created the root key that seals all secrets in etcd: keep a copy in a safe place, apart from backups; without it no backup can be used",
			"file", k.rootFile)
	}
}

// refused says why a database is not of the root key. One that was made just now is taken away again: it
// would stand in the place of the right one.
func (k *Keyring) refused() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.fresh {
		return ErrRootKey
	}
	return errors.Join(fmt.Errorf("%w: there was no %s", ErrRootKey, k.rootFile), os.Remove(k.rootFile))
}

func randomKey() []byte {
	key := make([]byte, rootKeyLen)
	rand.Read(key) // never fails: crypto/rand ends the process instead
	return key
}

// readPrivate reads a file of exactly size bytes that only its owner can read.
func readPrivate(path string, size int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("store: key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("store: key file: %w", err)
	}
	switch perm := info.Mode().Perm(); {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("store: key file %s is not a regular file", path)
	case perm&0o077 != 0:
		return nil, fmt.Errorf("store: key file %s has mode %04o and is open to other users: chmod 0600 it, and consider the key known", path, perm)
	case info.Size() != int64(size):
		return nil, fmt.Errorf("store: key file %s has %d bytes, not %d: it is damaged or not a key", path, info.Size(), size)
	}
	key := make([]byte, size)
	if _, err := f.ReadAt(key, 0); err != nil {
		return nil, fmt.Errorf("store: key file: %w", err)
	}
	return key, nil
}

// createPrivate writes content to a new file, durably and whole or not at all.
// When another process was faster, its content is returned.
func createPrivate(path string, content []byte) ([]byte, error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return nil, fmt.Errorf("store: create %s: %w", path, err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Link(tmp.Name(), path)
	}
	if errors.Is(err, fs.ErrExist) {
		return readPrivate(path, len(content))
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("store: create %s: %w", path, err)
	}
	return content, nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// keyID names a key without telling anything about it.
type keyID [8]byte

func rootKeyID(root []byte) (keyID, error) {
	b, err := hkdf.Key(sha256.New, root, nil, "sallyport store root key id v1", len(keyID{}))
	if err != nil {
		return keyID{}, fmt.Errorf("store: root key: %w", err)
	}
	return keyID(b), nil
}

// String hides the keys.
func (k *Keyring) String() string { return "keyring(redacted)" }

// GoString hides the keys.
func (k *Keyring) GoString() string { return k.String() }

// LogValue hides the keys.
func (k *Keyring) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalJSON hides the keys.
func (k *Keyring) MarshalJSON() ([]byte, error) { return []byte(`"` + k.String() + `"`), nil }
