package esp

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// Config describes one SA in one direction.
type Config struct {
	SPI        uint32
	Encryption transform.Encryption
	Keymat     transform.Keymat // Encryption.KeymatLen bytes; copied, the caller may clear it
	ESN        bool             // extended sequence numbers, RFC 4303 section 2.2.1
	Window     int              // Opener only: replay window in packets, see replay.New; 0 is the default
}

// suite is what sealing and opening share. Its scratch arrays keep the nonce and the
// AAD off the heap; they make it unfit for concurrent use.
type suite struct {
	aead   cipher.AEAD
	spi    uint32
	esn    bool
	header int // SPI, sequence number, IV
	icv    int
	align  int
	nonce  [nonceLen]byte // salt, IV
	aad    [spiLen + 8]byte
}

func newSuite(c Config) (suite, error) {
	if c.SPI < MinSPI {
		return suite{}, fmt.Errorf("%w: %d", ErrReservedSPI, c.SPI)
	}
	aead, salt, err := c.Encryption.NewAEAD(c.Keymat)
	if err != nil {
		return suite{}, err
	}
	if aead.NonceSize() != nonceLen || len(salt)+c.Encryption.IVLen != nonceLen || aead.Overhead() != c.Encryption.ICVLen {
		return suite{}, fmt.Errorf("%w: %s has another nonce or ICV than ESP's AEADs", transform.ErrUnknown, c.Encryption.Name)
	}
	s := suite{
		aead:   aead,
		spi:    c.SPI,
		esn:    c.ESN,
		header: fixedLen + c.Encryption.IVLen,
		icv:    c.Encryption.ICVLen,
		align:  max(minAlign, c.Encryption.Block),
	}
	copy(s.nonce[:], salt)
	binary.BigEndian.PutUint32(s.aad[:], c.SPI)
	return s, nil
}

// setIV returns the nonce, RFC 4106 section 4: the salt and the packet's IV. It is
// valid until the next call.
func (s *suite) setIV(packet []byte) []byte {
	copy(s.nonce[saltLen:], packet[fixedLen:s.header])
	return s.nonce[:]
}

// setSeq returns the AAD for seq, RFC 4106 section 5: SPI and sequence number, of 64
// bits with ESN. It is valid until the next call.
func (s *suite) setSeq(seq uint64) []byte {
	if s.esn {
		binary.BigEndian.PutUint64(s.aad[spiLen:], seq)
		return s.aad[:]
	}
	binary.BigEndian.PutUint32(s.aad[spiLen:], uint32(seq))
	return s.aad[:fixedLen]
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
	return body/s.align*s.align - trailerLen
}

// bodyLen is the length of payload, padding and trailer, rounded up.
func (s *suite) bodyLen(n int) int {
	return (n + trailerLen + s.align - 1) / s.align * s.align
}

// noCopy makes go vet report a copy of the struct it is in: two copies of a Sealer
// would use each nonce twice.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
