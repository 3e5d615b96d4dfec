package ah

import (
	"encoding/binary"
	"fmt"

	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// Config describes one SA in one direction.
type Config struct {
	SPI       uint32
	Integrity transform.Integrity // any of transform.AHIntegrities
	// Keymat is the key, then the salt: Integrity.KeymatLen bytes. It is copied; the caller
	// may clear it.
	Keymat transform.Keymat
	ESN    bool // extended sequence numbers, RFC 4302 section 2.5.1
	// Window is the Opener's replay window in packets, see replay.New; 0 is the default,
	// replay.Off none, which ESN forbids.
	Window int
	// Align8 pads the Sealer's AH over IPv4 to a multiple of 8 bytes: what Linux sends, and
	// takes alone, without its align4 flag.
	Align8 bool
	// Sequence numbers the Sealer's first packet one above this.
	Sequence uint64
	// Ceiling is the last number that the Sealer may use before RaiseCeiling; 0 is no ceiling.
	// Keys that outlive a process need both: no number may be used twice.
	Ceiling uint64
}

// sa is what sealing and opening share. Its scratch space makes it unfit for concurrent use.
type sa struct {
	mac     *transform.MAC
	spi     uint32
	esn     bool
	iv, icv int // lengths
	headers []byte
	zero    []byte // in place of IV and ICV
	high    [4]byte
}

// usualHeaders is what most header chains fit in: a longer one makes the scratch space grow
// once, to at most 40 bytes and ipwire.MaxExtensionHeaders times 2 KiB.
const usualHeaders = 256

func newSA(c Config) (sa, error) {
	if c.SPI < MinSPI {
		return sa{}, fmt.Errorf("%w: %d", ErrReservedSPI, c.SPI)
	}
	mac, err := c.Integrity.NewMAC(c.Keymat)
	if err != nil {
		return sa{}, fmt.Errorf("ah: integrity: %w", err)
	}
	return sa{
		mac:     mac,
		spi:     c.SPI,
		esn:     c.ESN,
		iv:      c.Integrity.IVLen,
		icv:     c.Integrity.ICVLen,
		headers: make([]byte, 0, usualHeaders),
		zero:    make([]byte, c.Integrity.AHLen()),
	}, nil
}

// SPI is the SA's SPI.
func (s *sa) SPI() uint32 { return s.spi }

// minLen is the length of the AH without padding.
func (s *sa) minLen() int { return fixedLen + s.iv + s.icv }

// compute feeds the MAC with all that the ICV covers, of a datagram whose AH at offset at is
// whole and not shorter than minLen. Nothing in the datagram changes. Errors: ErrHeaders,
// ErrRouting.
func (s *sa) compute(datagram []byte, at int, seq uint64, sending bool) error {
	s.headers = append(s.headers[:0], datagram[:at]...)
	predict := predictIPv6
	if ipwire.Version(datagram) == 4 {
		predict = predictIPv4
	}
	if err := predict(s.headers, sending); err != nil {
		return err
	}
	field := at + fixedLen
	s.mac.ResetIV(datagram[field : field+s.iv])
	s.mac.Write(s.headers)
	s.mac.Write(datagram[at:field])
	s.mac.Write(s.zero)
	s.mac.Write(datagram[at+s.minLen():])
	if s.esn {
		binary.BigEndian.PutUint32(s.high[:], uint32(seq>>32))
		s.mac.Write(s.high[:])
	}
	return nil
}

// icvOf returns the place of the ICV, behind the IV.
func (s *sa) icvOf(datagram []byte, at int) []byte {
	return datagram[at+fixedLen+s.iv:][:s.icv:s.icv]
}

// noCopy makes go vet report a copy of the struct it is in: two copies of a Sealer would use
// each number, and with AES-GMAC each nonce, twice.
type noCopy struct{}

func (*noCopy) Lock()   {}
func (*noCopy) Unlock() {}
