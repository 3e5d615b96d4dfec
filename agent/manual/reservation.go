package manual

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/services/atomicfile"
)

const (
	sequenceFile = "manual-sequence.json"
	sequenceLock = "manual-sequence.lock"

	// Block is how many sequence numbers are reserved at once. A restart costs what is left of a block:
	// without ESN a key lasts for 1024 of them.
	Block = 1 << 22

	lastSequence    = math.MaxUint32 // RFC 4303 section 3.3.3
	lastESNSequence = math.MaxInt64  // no SA sends more; half of what RFC 4303 section 2.2.1 has
)

var (
	// ErrExhausted: a key has no sequence numbers left. It must be changed.
	ErrExhausted = errors.New("manual: the key's sequence numbers are used up: give both ends a new key")
	// ErrDamaged: the file of the reserved sequence numbers cannot be believed.
	ErrDamaged = errors.New("manual: the file of the reserved sequence numbers is damaged")
	// ErrInUse: another process has the file of the reserved sequence numbers.
	ErrInUse = errors.New("manual: another process uses these sequence numbers")
	// ErrNotLast: numbers above the ceiling are reserved already, for another SA of the same key.
	ErrNotLast = errors.New("manual: the numbers above the ceiling belong to another SA of this key")
)

// Reservations are the sequence numbers that were ever reserved, by key. What is not in the file was never
// used; what is, may have been, up to the number there. Its methods may be called concurrently.
//
// Numbers belong to a key and not to an SA: under another SPI the same key would make the same nonces.
type Reservations struct {
	path    string
	lock    *os.File
	replace func(path string, content []byte) error

	mu       sync.Mutex
	reserved map[Fingerprint]uint64
}

// OpenReservations locks and reads the reservations in the state directory. Errors: ErrInUse; ErrDamaged, upon
// which nothing may be sent.
func OpenReservations(dir string) (*Reservations, error) {
	lock, err := os.OpenFile(filepath.Join(dir, sequenceLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("manual: %w", err)
	}
	r := &Reservations{path: filepath.Join(dir, sequenceFile), lock: lock, replace: atomicfile.Replace}
	if err := r.open(); err != nil {
		lock.Close()
		return nil, err
	}
	return r, nil
}

func (r *Reservations) open() error {
	err := unix.Flock(int(r.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%w: %s is locked", ErrInUse, r.lock.Name())
	}
	if err != nil {
		return fmt.Errorf("manual: lock %s: %w", r.lock.Name(), err)
	}
	text, err := readFile(r.path, maxSequenceFile)
	if errors.Is(err, fs.ErrNotExist) {
		r.reserved = make(map[Fingerprint]uint64)
		return nil
	}
	if err == nil {
		r.reserved, err = decodeReserved(text)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w. Which numbers were used is not known any more, and a number must not be used "+
			"twice with one key: give every policy new keys, at both ends, and remove the file", ErrDamaged, r.path, err)
	}
	return nil
}

// Close gives up the lock.
func (r *Reservations) Close() error { return r.lock.Close() }

// Reserve reserves a block of numbers for a new SA. Its first packet has the number sequence+1, its last one
// ceiling. The reservation is on disk when Reserve returns. Errors: ErrExhausted, or that the disk failed; then
// nothing is reserved.
func (r *Reservations) Reserve(key Fingerprint, esn bool) (sequence, ceiling uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sequence = r.reserved[key]
	ceiling, err = r.take(key, esn)
	return sequence, ceiling, err
}

// Extend reserves the block behind that of an SA and returns the new ceiling. Errors: those of Reserve, and
// ErrNotLast.
func (r *Reservations) Extend(key Fingerprint, esn bool, ceiling uint64) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reserved[key] != ceiling {
		return 0, fmt.Errorf("%w: they are reserved up to %d, and the ceiling is %d", ErrNotLast, r.reserved[key], ceiling)
	}
	return r.take(key, esn)
}

// take reserves a block above what is reserved. The caller holds mu.
func (r *Reservations) take(key Fingerprint, esn bool) (uint64, error) {
	before, last := r.reserved[key], lastOf(esn)
	if before >= last {
		return 0, fmt.Errorf("%w (reserved up to %d of %d)", ErrExhausted, before, last)
	}
	ceiling := before + min(Block, last-before)
	r.reserved[key] = ceiling
	content, err := encodeReserved(r.reserved)
	if err == nil {
		err = r.replace(r.path, content)
	}
	if err != nil {
		r.reserved[key] = before
		return 0, fmt.Errorf("manual: reserve sequence numbers: %w", err)
	}
	return ceiling, nil
}

// lastOf is the last sequence number.
func lastOf(esn bool) uint64 {
	if esn {
		return lastESNSequence
	}
	return lastSequence
}
