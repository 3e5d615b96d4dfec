package store

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

// ErrAudit says that the audit file is damaged: a revocation may be missing.
var ErrAudit = errors.New("store: the audit file is damaged")

// AuditKind says what an entry of the audit file takes away.
type AuditKind string

// What is recorded. Void and torn entries are written by this package.
const (
	AuditHostRemoved     AuditKind = "host-removed"
	AuditHostKeyRevoked  AuditKind = "host-key-revoked"
	AuditTokenRevoked    AuditKind = "token-revoked"
	AuditOperatorRevoked AuditKind = "operator-revoked"
	AuditCARevoked       AuditKind = "ca-revoked"

	AuditManualPeerRemoved AuditKind = "manual-peer-removed"
	AuditManualKeyReplaced AuditKind = "manual-key-replaced"

	AuditPeerRemoved        AuditKind = "peer-removed"
	AuditCredentialRemoved  AuditKind = "credential-removed"
	AuditCredentialReplaced AuditKind = "credential-replaced"

	auditVoid AuditKind = "void" // entry Name did not take place
	auditTorn AuditKind = "torn" // the line before was cut by a crash
)

const maxAuditLine = 4096

// AuditEntry is one line. Append sets ID and Time.
type AuditEntry struct {
	ID          string    `json:"id"`
	Time        time.Time `json:"time"`
	Kind        AuditKind `json:"kind"`
	Name        string    `json:"name"` // host, operator, token id, CA id, manual peer, peer or credential
	Incarnation uint64    `json:"incarnation,omitempty"`
	Revision    int64     `json:"revision,omitempty"` // etcd's head before the write
	Actor       string    `json:"actor,omitempty"`
	Reason      string    `json:"reason,omitempty"`
}

// deletes are the keys that the entry takes away from a restored state.
func (e AuditEntry) deletes() []string {
	switch e.Kind {
	case AuditHostRemoved:
		return []string{
			HostIDPrefix + e.Name,
			SpecPrefix + string(KindHost) + "/" + e.Name,
			StatusPrefix + string(KindHost) + "/" + e.Name,
		}
	case AuditHostKeyRevoked:
		return []string{HostIDPrefix + e.Name}
	case AuditTokenRevoked:
		return []string{TokenPrefix + e.Name}
	case AuditOperatorRevoked:
		return []string{OperatorPrefix + e.Name}
	case AuditCARevoked:
		return []string{CAPrefix + e.Name}
	case AuditManualPeerRemoved:
		return []string{
			ManualKeyPrefix + e.Name,
			SpecPrefix + string(KindManualPeer) + "/" + e.Name,
			StatusPrefix + string(KindManualPeer) + "/" + e.Name,
		}
	case AuditManualKeyReplaced:
		return []string{ManualKeyPrefix + e.Name}
	case AuditPeerRemoved:
		return []string{
			SpecPrefix + string(KindPeer) + "/" + e.Name,
			StatusPrefix + string(KindPeer) + "/" + e.Name,
			PeerWishPrefix + e.Name,
		}
	case AuditCredentialRemoved:
		return []string{
			CredentialPrefix + e.Name,
			SpecPrefix + string(KindCredential) + "/" + e.Name,
			StatusPrefix + string(KindCredential) + "/" + e.Name,
		}
	case AuditCredentialReplaced:
		return []string{CredentialPrefix + e.Name}
	}
	return nil
}

func (e AuditEntry) check() error {
	if e.Kind == auditVoid || e.Kind == auditTorn {
		return nil
	}
	if e.deletes() == nil {
		return fmt.Errorf("store: audit: unknown kind %q", e.Kind)
	}
	return CheckName(e.Name)
}

// Audit is an append-only file of revocations, one JSON object a line. It lies
// outside etcd, so that a restore of an older backup cannot forget them. Several
// processes may append to one file.
type Audit struct {
	path string
	now  func() time.Time
	mu   sync.Mutex
}

// OpenAudit makes sure that the file can be appended to; it is created 0600. now
// may be nil.
func OpenAudit(path string, now func() time.Time) (*Audit, error) {
	if now == nil {
		now = time.Now
	}
	a := &Audit{path: path, now: now}
	_, statErr := os.Stat(path)
	f, err := a.open()
	if err != nil {
		return nil, err
	}
	if errors.Is(statErr, fs.ErrNotExist) {
		err = syncDir(filepath.Dir(path))
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("store: audit file: %w", err)
	}
	return a, nil
}

// open locks the file against other writers until it is closed.
func (a *Audit) open() (*os.File, error) {
	f, err := os.OpenFile(a.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: audit file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("store: lock audit file: %w", err)
	}
	return f, nil
}

// Append writes one entry and returns it, with its ID and time, once it is on
// disk. Append first and revoke then, so that a crash in between loses nothing.
func (a *Audit) Append(e AuditEntry) (AuditEntry, error) {
	e.ID, e.Time = rand.Text(), a.now().UTC()
	if err := e.check(); err != nil {
		return AuditEntry{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	f, err := a.open()
	if err != nil {
		return AuditEntry{}, err
	}
	err = a.appendTo(f, e)
	if err := errors.Join(err, f.Close()); err != nil {
		return AuditEntry{}, fmt.Errorf("store: append to the audit file: %w", err)
	}
	return e, nil
}

func (a *Audit) appendTo(f *os.File, e AuditEntry) error {
	var out []byte
	torn, err := endsTorn(f)
	if err != nil {
		return err
	}
	if torn {
		mark, err := json.Marshal(AuditEntry{ID: rand.Text(), Time: e.Time, Kind: auditTorn})
		if err != nil {
			return err
		}
		out = slices.Concat(out, []byte("\n"), mark, []byte("\n"))
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if len(line) >= maxAuditLine {
		return fmt.Errorf("an entry of %d bytes, at most %d", len(line), maxAuditLine-1)
	}
	out = slices.Concat(out, line, []byte("\n"))
	_, err = f.Write(out)
	return errors.Join(err, f.Sync())
}

// endsTorn reports whether a crash cut the last line.
func endsTorn(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return last[0] != '\n', err
}

// Read returns the revocations that took place, oldest first. A line cut by a
// crash was never acknowledged and is passed over; any other damage is ErrAudit.
func (a *Audit) Read() ([]AuditEntry, error) {
	f, err := os.Open(a.path)
	if err != nil {
		return nil, fmt.Errorf("store: audit file: %w", err)
	}
	defer f.Close()
	return readAudit(f)
}

func readAudit(r io.Reader) ([]AuditEntry, error) {
	var entries []AuditEntry
	void := make(map[string]bool)
	bad := 0 // number of a line that cannot be read; the next must excuse it
	lines := bufio.NewReaderSize(r, maxAuditLine)
	for n := 1; ; n++ {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			break // what follows the last newline is torn
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %v", ErrAudit, n, err)
		}
		e, err := parseAuditLine(line)
		switch {
		case bad != 0 && (err != nil || e.Kind != auditTorn):
			return nil, fmt.Errorf("%w: line %d", ErrAudit, bad)
		case err != nil:
			bad = n
			continue
		case e.Kind == auditVoid:
			void[e.Name] = true
		case e.Kind != auditTorn:
			entries = append(entries, e)
		}
		bad = 0
	}
	if bad != 0 {
		return nil, fmt.Errorf("%w: line %d", ErrAudit, bad)
	}
	return slices.DeleteFunc(entries, func(e AuditEntry) bool { return void[e.ID] }), nil
}

func parseAuditLine(line []byte) (AuditEntry, error) {
	var e AuditEntry
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		return AuditEntry{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return AuditEntry{}, errors.New("more than one value")
	}
	return e, e.check()
}
