package plan

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// UID identifies a host resource: 8 random bytes. A host that is deleted and made again has a new one.
type UID [8]byte

// ParseUID reads the 16 hexadecimal digits of Metadata.uid.
func ParseUID(s string) (UID, error) {
	var u UID
	if len(s) != 2*len(u) {
		return UID{}, fmt.Errorf("plan: a uid has %d hexadecimal digits, %q has %d characters", 2*len(u), s, len(s))
	}
	if _, err := hex.Decode(u[:], []byte(s)); err != nil {
		return UID{}, fmt.Errorf("plan: uid %q: %w", s, err)
	}
	return u, nil
}

// String returns 16 hexadecimal digits.
func (u UID) String() string { return hex.EncodeToString(u[:]) }

// Epoch names one life of an agent process: 16 random bytes. The zero value means that the host never
// connected.
type Epoch [16]byte

// IsZero reports whether there is no epoch.
func (e Epoch) IsZero() bool { return e == Epoch{} }

// String returns 32 hexadecimal digits.
func (e Epoch) String() string { return hex.EncodeToString(e[:]) }

// SAID identifies an SA pair, one generation of a pair: 16 random bytes, never used again.
type SAID [16]byte

// String returns 32 hexadecimal digits.
func (id SAID) String() string { return hex.EncodeToString(id[:]) }

// FirstSPI is the lowest SPI that controllers give out: its top byte is the shard that allocates, and no
// shard is 0. Those below are for keys that operators give.
const FirstSPI = 1 << 24

// PairID identifies a pair of hosts: both uids, the smaller one first. That host is A, the other B.
type PairID [16]byte

// PairOf returns the pair of two different hosts, in whatever order they come.
func PairOf(x, y UID) PairID {
	if bytes.Compare(x[:], y[:]) > 0 {
		x, y = y, x
	}
	var id PairID
	copy(id[:8], x[:])
	copy(id[8:], y[:])
	return id
}

// ParsePairID reads the 16 bytes of a record or a resource.
func ParsePairID(b []byte) (PairID, error) {
	var id PairID
	if len(b) != len(id) || bytes.Compare(b[:8], b[8:]) >= 0 {
		return PairID{}, fmt.Errorf("plan: %x is not the id of a pair: two uids of 8 bytes, the smaller one first", b)
	}
	copy(id[:], b)
	return id, nil
}

// A returns the host with the smaller uid.
func (id PairID) A() UID { return UID(id[:8]) }

// B returns the host with the larger uid.
func (id PairID) B() UID { return UID(id[8:]) }

// Has reports whether the host is an end of the pair.
func (id PairID) Has(u UID) bool { return id.A() == u || id.B() == u }

// Other returns the end that is not u.
func (id PairID) Other(u UID) UID {
	if id.A() == u {
		return id.B()
	}
	return id.A()
}

// String returns 32 hexadecimal digits.
func (id PairID) String() string { return hex.EncodeToString(id[:]) }
