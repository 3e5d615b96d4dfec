package esp

import (
	"crypto/cipher"
	"encoding/binary"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// combined is a combined-mode algorithm: GCM (RFC 4106), CCM (RFC 4309), GMAC (RFC 4543),
// ChaCha20-Poly1305 (RFC 7634). The AAD is the SPI and the sequence number, of 64 bits
// with ESN; GMAC, whose payload is all AAD, has the IV in between.
type combined struct {
	layout
	aead  cipher.AEAD
	esn   bool
	aadIV bool
	salt  int
	nonce []byte // salt, IV
	aad   [fixedLen + 4 + 8]byte
}

func newCombined(c Config, l layout) (*combined, error) {
	aead, salt, err := c.Encryption.NewAEAD(c.Keymat)
	if err != nil {
		return nil, err
	}
	p := &combined{
		layout: l,
		aead:   aead,
		esn:    c.ESN,
		aadIV:  c.Encryption.ID == transform.EncrNullAESGMAC,
		salt:   len(salt),
		nonce:  append(salt, make([]byte, c.Encryption.IVLen)...),
	}
	binary.BigEndian.PutUint32(p.aad[:], c.SPI)
	return p, nil
}

func (p *combined) protect(packet, body []byte, seq uint64) {
	p.aead.Seal(p.body(packet)[:0], p.setNonce(packet), body, p.setAAD(packet, seq))
}

func (p *combined) verify(packet []byte, seq uint64) ([]byte, error) {
	sealed := packet[p.header:]
	body, err := p.aead.Open(sealed[:0], p.setNonce(packet), sealed, p.setAAD(packet, seq))
	if err != nil {
		return nil, ErrICV
	}
	return body, nil
}

// setNonce returns the nonce, RFC 4106 section 4: the salt and the packet's IV. It is
// valid until the next call.
func (p *combined) setNonce(packet []byte) []byte {
	copy(p.nonce[p.salt:], p.iv(packet))
	return p.nonce
}

// setAAD returns the AAD, RFC 4106 section 5, RFC 4543 section 3.3. It is valid until the
// next call.
func (p *combined) setAAD(packet []byte, seq uint64) []byte {
	n := fixedLen
	if p.esn {
		binary.BigEndian.PutUint64(p.aad[spiLen:], seq)
		n += 4
	} else {
		binary.BigEndian.PutUint32(p.aad[spiLen:], uint32(seq))
	}
	if p.aadIV {
		n += copy(p.aad[n:], p.iv(packet))
	}
	return p.aad[:n]
}
