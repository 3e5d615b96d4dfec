package ikekeys

import (
	"bytes"
	"crypto/cipher"
	"fmt"
	"slices"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// combined is a combined mode, RFC 5282 and RFC 7634: the nonce is the salt that ends SK_e and
// the IV, the associated data goes from the header to the IV (RFC 5282 section 5.1).
type combined struct {
	aead cipher.AEAD
	salt []byte
}

func newCombined(s Suite, ke, ka []byte) (*combined, error) {
	if len(ka) != 0 {
		return nil, fmt.Errorf("%w: a combined mode has no SK_a", transform.ErrKeyLength)
	}
	aead, salt, err := s.Encryption.NewAEAD(ke)
	return &combined{aead, salt}, err
}

func (c *combined) seal(e ikewire.Envelope) {
	c.aead.Seal(e.Text[:0], slices.Concat(c.salt, e.IV), e.Text, e.AAD)
}

func (c *combined) open(e ikewire.Envelope) ([]byte, bool) {
	text, err := c.aead.Open(nil, slices.Concat(c.salt, e.IV), e.Text[:cap(e.Text)], e.AAD)
	return text, err == nil
}

// separate is a cipher and an integrity algorithm, RFC 7296 section 3.14, RFC 5930: encrypt,
// then authenticate all from the header on.
type separate struct {
	cipher transform.Cipher
	mac    *transform.MAC
}

func newSeparate(s Suite, ke, ka []byte) (*separate, error) {
	cipher, err := s.Encryption.NewCipher(ke)
	if err != nil {
		return nil, err
	}
	mac, err := s.Integrity.NewMAC(ka)
	return &separate{cipher, mac}, err
}

func (c *separate) seal(e ikewire.Envelope) {
	c.cipher.Encrypt(e.Text, e.IV)
	c.authenticate(e)
	c.mac.AppendICV(e.ICV[:0])
}

func (c *separate) open(e ikewire.Envelope) ([]byte, bool) {
	c.authenticate(e)
	if !c.mac.Verify(e.ICV) {
		return nil, false
	}
	text := bytes.Clone(e.Text)
	c.cipher.Decrypt(text, e.IV)
	return text, true
}

func (c *separate) authenticate(e ikewire.Envelope) {
	c.mac.Reset()
	c.mac.Write(e.Authenticated())
}
