package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// An hourly key file is named by the hour it began, in UTC, and holds
//
//	key 32 | unix second after which nothing sealed under it is needed 8
//
// The expiry is raised, durably, before a value with a later one is returned.
const (
	hourLayout  = "20060102T15"
	hourSuffix  = ".key"
	hourFileLen = rootKeyLen + 8
)

// MaxHardLifetime bounds how long a traffic key may be needed.
const MaxHardLifetime = 31 * 24 * time.Hour

// cacheTag makes backup programs skip the directory: https://bford.info/cachedir/
const cacheTag = "Signature: 8a477f597d28d172789f06886806bc55\n# Traffic keys that are destroyed on time: never back them up.\n"

type hourKey struct {
	key    []byte
	expiry int64 // unix second, as in the file
}

func (k *Keyring) openTrafficDir() error {
	if err := privateDir(k.dir); err != nil {
		return err
	}
	tag := filepath.Join(k.dir, "CACHEDIR.TAG")
	if _, err := os.Stat(tag); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(tag, []byte(cacheTag), 0o600); err != nil {
			return fmt.Errorf("store: traffic key directory: %w", err)
		}
	}
	return nil
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }

func (k *Keyring) hourFile(hour int64) string {
	return filepath.Join(k.dir, time.Unix(hour*3600, 0).UTC().Format(hourLayout)+hourSuffix)
}

func hourID(hour int64) keyID {
	var id keyID
	binary.BigEndian.PutUint64(id[:], uint64(hour))
	return id
}

// SealTraffic encrypts a traffic key for the etcd key path under this hour's
// key, which Sweep destroys once hardExpiry (of the last value sealed under it)
// has passed. hardExpiry lies in the future, at most MaxHardLifetime away.
func (k *Keyring) SealTraffic(path string, plaintext []byte, hardExpiry time.Time) ([]byte, error) {
	now := k.now()
	if !hardExpiry.After(now) || hardExpiry.Sub(now) > MaxHardLifetime {
		return nil, fmt.Errorf("store: hard expiry %v is not within %v from now (%v)", hardExpiry, MaxHardLifetime, now)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	hour := hourOf(now)
	hk, err := k.hourForSeal(hour, hardExpiry)
	if err != nil {
		return nil, err
	}
	return seal(kindTraffic, hourID(hour), hk.key, path, plaintext)
}

// UnsealTraffic opens what SealTraffic made for the same path. The error is
// ErrSeal, also when the hourly key is gone.
func (k *Keyring) UnsealTraffic(path string, sealed []byte) ([]byte, error) {
	id, err := parseSealed(kindTraffic, sealed)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	hk, err := k.loadHour(int64(binary.BigEndian.Uint64(id[:])))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: its hourly key is not here", ErrSeal)
	}
	if err != nil {
		return nil, err
	}
	return unseal(kindTraffic, hk.key, path, sealed)
}

// hourForSeal returns the hour's key once its file promises to live until
// expiry. The promise is rounded up to full hours, so that the file is written a
// few times and not at each seal.
func (k *Keyring) hourForSeal(hour int64, expiry time.Time) (*hourKey, error) {
	until := (expiry.Unix()/3600 + 1) * 3600
	hk, err := k.loadHour(hour)
	if errors.Is(err, fs.ErrNotExist) {
		hk, err = k.createHour(hour, until)
	}
	if err != nil {
		return nil, err
	}
	if hk.expiry >= until {
		return hk, nil
	}
	hk.expiry, err = raiseExpiry(k.hourFile(hour), until)
	return hk, err
}

// raiseExpiry makes the file's expiry at least until, durably, and returns it.
// The lock is for other processes that share the directory.
func raiseExpiry(path string, until int64) (int64, error) {
	f, err := openHour(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	content := make([]byte, hourFileLen)
	if _, err := f.ReadAt(content, 0); err != nil {
		return 0, fmt.Errorf("store: read %s: %w", path, err)
	}
	if have := fileExpiry(content); have >= until {
		return have, nil
	}
	_, err = f.WriteAt(binary.BigEndian.AppendUint64(nil, uint64(until)), rootKeyLen)
	if err := errors.Join(err, f.Sync()); err != nil {
		return 0, fmt.Errorf("store: write %s: %w", path, err)
	}
	return until, nil
}

func openHour(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("store: hourly key: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("store: lock %s: %w", path, err)
	}
	return f, nil
}

func fileExpiry(content []byte) int64 {
	return int64(binary.BigEndian.Uint64(content[rootKeyLen:]))
}

func (k *Keyring) createHour(hour, until int64) (*hourKey, error) {
	content := binary.BigEndian.AppendUint64(randomKey(), uint64(until))
	content, err := createPrivate(k.hourFile(hour), content)
	if err != nil {
		return nil, err
	}
	return k.remember(hour, content), nil
}

func (k *Keyring) loadHour(hour int64) (*hourKey, error) {
	if hk, ok := k.hours[hour]; ok {
		return hk, nil
	}
	if hour < 0 || hour > hourOf(k.now())+24 {
		return nil, fs.ErrNotExist // no such file can be ours: do not even look
	}
	content, err := readPrivate(k.hourFile(hour), hourFileLen)
	if err != nil {
		return nil, err
	}
	return k.remember(hour, content), nil
}

func (k *Keyring) remember(hour int64, content []byte) *hourKey {
	hk := &hourKey{key: content[:rootKeyLen], expiry: fileExpiry(content)}
	k.hours[hour] = hk
	return hk
}

// Sweep destroys the hourly keys whose hour is over and whose last hard expiry
// has passed: overwritten, unlinked, forgotten. Call it every few minutes. It
// returns how many it destroyed.
func (k *Keyring) Sweep(now time.Time) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return 0, fmt.Errorf("store: traffic key directory: %w", err)
	}
	destroyed := 0
	var errs []error
	for _, entry := range entries {
		begin, err := time.Parse(hourLayout+hourSuffix, entry.Name())
		if err != nil || hourOf(begin) >= hourOf(now) {
			continue
		}
		gone, err := k.sweepHour(hourOf(begin), now)
		errs = append(errs, err)
		if gone {
			destroyed++
		}
	}
	if destroyed > 0 {
		errs = append(errs, syncDir(k.dir))
	}
	return destroyed, errors.Join(errs...)
}

func (k *Keyring) sweepHour(hour int64, now time.Time) (bool, error) {
	path := k.hourFile(hour)
	f, err := openHour(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	// The file, not the memory: another process may have raised the expiry.
	content := make([]byte, hourFileLen)
	if _, err := f.ReadAt(content, 0); err != nil {
		return false, fmt.Errorf("store: read %s: %w", path, err)
	}
	defer clear(content)
	if now.Unix() < fileExpiry(content) {
		return false, nil
	}
	if hk, ok := k.hours[hour]; ok {
		clear(hk.key)
		delete(k.hours, hour)
	}
	_, err = f.WriteAt(make([]byte, hourFileLen), 0)
	if err := errors.Join(err, f.Sync(), os.Remove(path)); err != nil {
		return false, fmt.Errorf("store: destroy %s: %w", path, err)
	}
	return true, nil
}
