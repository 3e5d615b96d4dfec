package uplink

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protojson"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/atomicfile"
)

// Files of the state directory. None ever holds a traffic key.
const (
	lockFile     = "lock"
	keyFile      = "identity.key"  // PKCS#8, PEM, 0600
	identityFile = "identity.pem"  // certificates, leaf first, then nothing
	trustFile    = "trust.pem"     // the fleet's roots
	configFile   = "config.json"   // the last HostConfig
	positionFile = "position.json" // the highest position seen
)

// maxStateFile bounds what is read back, bytes.
const maxStateFile = 1 << 20

// ErrStateInUse: another agent runs on this state directory.
var ErrStateInUse = errors.New("uplink: another sallyport-agent uses this state directory")

// State is the agent's directory. Files are replaced whole: after a crash the old or the new one is
// there.
type State struct {
	dir  string
	lock *os.File
}

// OpenState opens the directory, creates it (0700) if need be, and locks it: two agents with one
// identity would chase each other.
func OpenState(dir string) (*State, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("uplink: state directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("uplink: state directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("uplink: state directory: %w", err)
	}
	if err := flock(lock); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", ErrStateInUse, dir)
		}
		return nil, fmt.Errorf("uplink: lock %s: %w", lock.Name(), err)
	}
	return &State{dir: dir, lock: lock}, nil
}

const (
	// lockPatience is how long a process that was killed may take to be gone.
	lockPatience = 2 * time.Second
	lockAgain    = 20 * time.Millisecond
)

// flock locks f. The kernel has no lock with a time limit, so it is asked again and again.
func flock(f *os.File) error {
	for end := time.Now().Add(lockPatience); ; time.Sleep(lockAgain) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			return err
		}
	}
}

// Close unlocks the directory.
func (s *State) Close() error { return s.lock.Close() }

// Dir is the directory's path.
func (s *State) Dir() string { return s.dir }

// Key is the identity key. It is made at the first call, and is there before the first enrolment, so
// that an enrolment whose reply was lost can be repeated with it.
func (s *State) Key() (*Key, error) {
	text, err := s.read(keyFile)
	if err != nil {
		return nil, err
	}
	if text == nil {
		return s.newKey()
	}
	info, err := os.Stat(s.path(keyFile))
	if err != nil {
		return nil, fmt.Errorf("uplink: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("uplink: %s is readable by others (mode %#o): the key may be known; chmod 600 it, or join anew",
			s.path(keyFile), info.Mode().Perm())
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || len(strings.TrimSpace(string(rest))) != 0 {
		return nil, fmt.Errorf("uplink: %s is not one PEM private key", s.path(keyFile))
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("uplink: %s: %w", s.path(keyFile), err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, fmt.Errorf("uplink: %s holds no ECDSA key on P-256", s.path(keyFile))
	}
	return &Key{key}, nil
}

func (s *State) newKey() (*Key, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("uplink: make an identity key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("uplink: make an identity key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	defer clear(text)
	defer clear(der)
	return &Key{key}, s.write(keyFile, text)
}

// identity is nil before the host has enrolled.
func (s *State) identity() (*Identity, error) {
	chain, err := s.certificates(identityFile)
	if err != nil || chain == nil {
		return nil, err
	}
	roots, err := s.certificates(trustFile)
	if err != nil {
		return nil, err
	}
	key, err := s.Key()
	if err != nil {
		return nil, err
	}
	id, err := newIdentity(key, chain, roots)
	if err != nil {
		return nil, fmt.Errorf("uplink: the identity in %s is damaged: %w; delete %s and %s there and join anew",
			s.dir, err, identityFile, trustFile)
	}
	return id, nil
}

// saveIdentity writes the roots first: a chain without roots is no identity.
func (s *State) saveIdentity(id *Identity) error {
	if err := s.saveTrust(id.roots); err != nil {
		return err
	}
	return s.write(identityFile, encodeCertificates(id.chain))
}

func (s *State) saveTrust(roots [][]byte) error { return s.write(trustFile, encodeCertificates(roots)) }

// hostConfig is nil when none was saved.
func (s *State) hostConfig() (*fleetv1.HostConfig, error) {
	text, err := s.read(configFile)
	if text == nil || err != nil {
		return nil, err
	}
	c := new(fleetv1.HostConfig)
	if err := protojson.Unmarshal(text, c); err != nil {
		return nil, fmt.Errorf("uplink: %s is damaged: %w", s.path(configFile), err)
	}
	return c, nil
}

func (s *State) saveHostConfig(c *fleetv1.HostConfig) error {
	text, err := protojson.MarshalOptions{Multiline: true}.Marshal(c)
	if err != nil {
		return fmt.Errorf("uplink: save %s: %w", configFile, err)
	}
	return s.write(configFile, text)
}

// savedPosition is a position as it lies on disk.
type savedPosition struct {
	Incarnation uint64 `json:"incarnation"`
	Revision    int64  `json:"revision"`
	Proof       []byte `json:"proof,omitempty"`
}

// position is nil when none was saved.
func (s *State) position() (*typesv1.Position, error) {
	text, err := s.read(positionFile)
	if text == nil || err != nil {
		return nil, err
	}
	var p savedPosition
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("uplink: %s is damaged: %w", s.path(positionFile), err)
	}
	return &typesv1.Position{Incarnation: p.Incarnation, Revision: p.Revision, Proof: p.Proof}, nil
}

func (s *State) savePosition(p *typesv1.Position) error {
	text, err := json.Marshal(savedPosition{p.GetIncarnation(), p.GetRevision(), p.GetProof()})
	if err != nil {
		return fmt.Errorf("uplink: save %s: %w", positionFile, err)
	}
	return s.write(positionFile, text)
}

func (s *State) path(file string) string { return filepath.Join(s.dir, file) }

// read returns nil, nil for a file that is not there.
func (s *State) read(file string) ([]byte, error) {
	info, err := os.Stat(s.path(file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && info.Size() > maxStateFile {
		err = fmt.Errorf("%s has %d bytes: that is not ours", s.path(file), info.Size())
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(s.path(file))
	}
	if err != nil {
		return nil, fmt.Errorf("uplink: %w", err)
	}
	return text, nil
}

// write replaces a file, mode 0600.
func (s *State) write(file string, content []byte) error {
	if err := atomicfile.Replace(s.path(file), content); err != nil {
		return fmt.Errorf("uplink: save %s: %w", file, err)
	}
	return nil
}

func (s *State) certificates(file string) ([][]byte, error) {
	text, err := s.read(file)
	if err != nil || text == nil {
		return nil, err
	}
	var out [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			out = append(out, block.Bytes)
		}
	}
	return out, nil
}

func encodeCertificates(ders [][]byte) []byte {
	var text []byte
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return text
}
