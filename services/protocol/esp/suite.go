package esp

import (
	"fmt"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// Config describes one SA in one direction.
type Config struct {
	SPI        uint32
	Encryption transform.Encryption
	Integrity  transform.Integrity // the zero value with a combined mode, and only there
	// Keymat is the encryption key, the salt and the integrity key, in this order (RFC 7296
	// section 2.17): transform.Suite.KeymatLen bytes. It is copied; the caller may clear it.
	Keymat transform.Keymat
	ESN    bool // extended sequence numbers, RFC 4303 section 2.2.1

	// For an Opener alone.

	Window int // replay window in packets, see replay.New; 0 is the default, replay.Off none
	// Transport takes any next header and returns the payload as it is, RFC 4303 section 3.1.1.
	// Without it the payload is one IP datagram, or a dummy's.
	Transport bool

	// For a Sealer alone, and only for a key that outlives the process (manual keying). The caller
	// writes down, before it sets or raises the ceiling, that all numbers up to it may have been used;
	// the next process goes on with that as its Sequence.

	Sequence uint64 // the first packet has the number above it
	Ceiling  uint64 // the last number that may be used until RaiseCeiling; 0 is none
	IVSeed   []byte // goes into the key of CBC's IVs, so that each process makes other ones; not secret
}

func (c Config) suite() transform.Suite {
	return transform.Suite{Encryption: c.Encryption, Integrity: c.Integrity}
}

// protection is what an SA's suite does to a packet. Its scratch space makes it unfit for
// concurrent use. A packet is whole: from its SPI to its ICV.
type protection interface {
	// protect encrypts the body, trailer included, and fills in the ICV. Header and IV are there; the body lies in its
	// place in the packet, or outside of the packet.
	protect(packet, body []byte, seq uint64)
	// verify checks the ICV and returns the body, trailer included, decrypted in place. The
	// one error is ErrICV. The packet has whole blocks and room for all its parts.
	verify(packet []byte, seq uint64) ([]byte, error)
}

// suite is what sealing and opening share.
type suite struct {
	protection
	layout
	spi uint32
	esn bool
}

// layout is where a packet's parts lie.
type layout struct {
	header int // SPI, sequence number, IV
	icv    int
	align  int // of the body: a cipher block, at least 4
	// wholeBlocks: the cipher takes nothing else. A stream cipher's peer that pads to no
	// multiple of 4 breaks RFC 4303 section 2.4, and is understood.
	wholeBlocks bool
}

func (l *layout) iv(packet []byte) []byte { return packet[fixedLen:l.header] }

func (l *layout) body(packet []byte) []byte { return packet[l.header : len(packet)-l.icv] }

func newSuite(c Config) (suite, error) {
	if c.SPI < MinSPI {
		return suite{}, fmt.Errorf("%w: %d", ErrReservedSPI, c.SPI)
	}
	t := c.suite()
	if err := t.Check(); err != nil {
		return suite{}, fmt.Errorf("esp: suite %v: %w", t, err)
	}
	if len(c.Keymat) != t.KeymatLen() {
		return suite{}, fmt.Errorf("%w: %v needs %d bytes, got %d", transform.ErrKeyLength, t, t.KeymatLen(), len(c.Keymat))
	}
	s := suite{
		layout: layout{
			header: fixedLen + c.Encryption.IVLen,
			icv:    t.ICVLen(),
			align:  max(minAlign, c.Encryption.Block),

			wholeBlocks: c.Encryption.Block > minAlign,
		},
		spi: c.SPI,
		esn: c.ESN,
	}
	var err error
	if c.Encryption.AEAD() {
		s.protection, err = newCombined(c, s.layout)
	} else {
		s.protection, err = newSeparate(c, s.layout)
	}
	return s, err
}

// SPI is the SA's SPI.
func (s *suite) SPI() uint32 { return s.spi }

// HeaderLen is the number of bytes before the payload: SPI, sequence number and IV.
func (s *suite) HeaderLen() int { return s.header }

// Overhead is the most that sealing adds to a payload, in bytes, TFC padding apart.
func (s *suite) Overhead() int { return s.header + s.align - 1 + trailerLen + s.icv }

// SealedLen is the length of the ESP packet for a payload of n bytes, TFC padding included.
func (s *suite) SealedLen(n int) int {
	return s.header + s.bodyLen(n) + s.icv
}

// MaxPayload is the longest payload whose ESP packet fits in space bytes; negative
// when not even an empty one does.
func (s *suite) MaxPayload(space int) int {
	body := space - s.header - s.icv
	if body < s.align {
		return -1
	}
	return body&^(s.align-1) - trailerLen
}

// bodyLen is the length of payload, padding and trailer, rounded up.
func (s *suite) bodyLen(n int) int {
	return (n + trailerLen + s.align - 1) &^ (s.align - 1)
}

// noCopy makes go vet report a copy of the struct it is in: two copies of a Sealer
// would use each nonce twice.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
