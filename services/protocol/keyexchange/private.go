package keyexchange

import (
	"crypto/mlkem"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// agreement is what a family of methods does with one private key.
type agreement interface {
	public() []byte
	// finish takes a value of the right length. Its errors wrap ErrPublic.
	finish(peer []byte) (secret []byte, err error)
	private() []byte
}

// Private is one end's private key of one exchange. It prints and logs as its method.
type Private struct {
	method Method
	key    agreement
}

// Initiate makes a private key from rand, which must be as good as crypto/rand's reader.
// Errors: rand's, ErrUnknown for a method that is not of the table.
func (m Method) Initiate(rand io.Reader) (*Private, error) {
	key, err := m.generate(rand)
	if err != nil {
		return nil, fmt.Errorf("keyexchange: %s: %w", m.Name, err)
	}
	return &Private{m, key}, nil
}

// Respond makes the answer to the initiator's value, and the shared secret. A KEM takes its
// randomness from crypto/rand itself, whatever rand is: Go's library lets nobody choose it
// (testing/cryptotest can). Errors: ErrPublic, rand's, ErrUnknown for a method that is not of
// the table.
func (m Method) Respond(rand io.Reader, peer []byte) (public, secret []byte, err error) {
	if err := m.checkLength(peer, m.InitiatorLen); err != nil {
		return nil, nil, err
	}
	if m.KEM {
		return m.encapsulate(peer)
	}
	p, err := m.Initiate(rand)
	if err != nil {
		return nil, nil, err
	}
	if secret, err = p.Finish(peer); err != nil {
		return nil, nil, err
	}
	return p.Public(), secret, nil
}

func (m Method) checkLength(value []byte, want int) error {
	if len(value) != want {
		return fmt.Errorf("%w: %s has %d bytes, got %d", ErrPublic, m.Name, want, len(value))
	}
	return nil
}

// Method is the key's method.
func (p *Private) Method() Method { return p.method }

// Public returns the value for the peer, InitiatorLen bytes. For MODP it costs as much as Finish,
// each time.
func (p *Private) Public() []byte { return p.key.public() }

// Finish returns the secret shared with the peer that sent a value: g^ir or SK(n) of RFC 7296
// and RFC 9370, for MODP as long as the prime (RFC 7296 section 2.14), for P-256, P-384 and
// P-521 the x coordinate (RFC 5903 section 7). A wrong ML-KEM ciphertext of the right length
// gives a secret that the peer has not (FIPS 203 section 6.3). The error wraps ErrPublic; the
// key is as it was.
func (p *Private) Finish(peer []byte) (secret []byte, err error) {
	if err := p.method.checkLength(peer, p.method.ResponderLen); err != nil {
		return nil, err
	}
	return p.key.finish(peer)
}

const idLen = 2

// Marshal returns the private key for Unmarshal: the method's ID and the family's own form. It
// is secret: the caller seals it.
func (p *Private) Marshal() []byte {
	return append(binary.BigEndian.AppendUint16(nil, p.method.ID), p.key.private()...)
}

// Unmarshal reads what Marshal of a key of the same method wrote. Errors: ErrPrivate, ErrUnknown
// for a method that is not of the table.
func (m Method) Unmarshal(b []byte) (*Private, error) {
	if len(b) < idLen || binary.BigEndian.Uint16(b) != m.ID {
		return nil, fmt.Errorf("%w: not of %s", ErrPrivate, m.Name)
	}
	key, err := m.parse(b[idLen:])
	if err != nil {
		return nil, err
	}
	return &Private{m, key}, nil
}

// Format implements fmt.Formatter: for every verb the method, no key.
func (p *Private) Format(f fmt.State, _ rune) {
	io.WriteString(f, "keyexchange.Private{"+p.method.Name+" [redacted]}")
}

// MarshalText implements encoding.TextMarshaler: for JSON and for slog's handlers.
func (p *Private) MarshalText() ([]byte, error) { return fmt.Append(nil, p), nil }

// maxDraws is how many private keys are drawn until one is in range. Less than one in 2^32 is
// not (of P-256), so only a broken source needs them all.
const maxDraws = 8

var errRandom = errors.New("the random source gives no private key")

// generate draws the private key itself, so that rand decides: the library's own ways of making
// keys do not ask it.
func (m Method) generate(rand io.Reader) (agreement, error) {
	b := make([]byte, m.privateLen())
	for range maxDraws {
		if _, err := io.ReadFull(rand, b); err != nil {
			return nil, err
		}
		if m.ID == P521 {
			b[0] &= 1 // 521 bits
		}
		key, err := m.parse(b)
		if err == nil || errors.Is(err, ErrUnknown) {
			return key, err
		}
	}
	return nil, errRandom
}

// privateLen is the length of the family's form of a private key.
func (m Method) privateLen() int {
	switch m.ID {
	case X25519, P256:
		return 32
	case P384:
		return 48
	case P521:
		return 66
	case MLKEM768, MLKEM1024:
		return mlkem.SeedSize
	}
	return modpOf(m.ID).exponent
}

func (m Method) parse(b []byte) (agreement, error) {
	switch m.ID {
	case X25519, P256, P384, P521:
		return parseCurve(m.ID, b)
	case MODP2048, MODP3072, MODP4096, MODP6144, MODP8192:
		return parseMODP(m.ID, b)
	case MLKEM768, MLKEM1024:
		return parseMLKEM(m.ID, b)
	}
	return nil, ErrUnknown
}
