package esp

import (
	"encoding/binary"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// separate is a cipher and an integrity algorithm, RFC 4303 sections 3.3.2 and 3.4.4:
// encrypt, then authenticate from SPI to the next header; with ESN the number's high half
// follows, which is not in the packet. Opening verifies before it decrypts anything.
type separate struct {
	layout
	cipher transform.Cipher
	mac    *transform.MAC
	esn    bool
	high   [4]byte
}

func newSeparate(c Config, l layout) (*separate, error) {
	n := c.Encryption.KeymatLen()
	cipher, err := c.Encryption.NewCipher(c.Keymat[:n])
	if err != nil {
		return nil, err
	}
	mac, err := c.Integrity.NewMAC(c.Keymat[n:])
	if err != nil {
		return nil, err
	}
	return &separate{layout: l, cipher: cipher, mac: mac, esn: c.ESN}, nil
}

func (p *separate) protect(packet, body []byte, seq uint64) {
	place(p.body(packet), body)
	p.cipher.Encrypt(p.body(packet), p.iv(packet))
	covered := packet[:len(packet)-p.icv]
	p.authenticate(covered, seq)
	p.mac.AppendICV(covered)
}

func (p *separate) verify(packet []byte, seq uint64) ([]byte, error) {
	covered := len(packet) - p.icv
	p.authenticate(packet[:covered], seq)
	if !p.mac.Verify(packet[covered:]) {
		return nil, ErrICV
	}
	body := p.body(packet)
	p.cipher.Decrypt(body, p.iv(packet))
	return body, nil
}

func (p *separate) authenticate(covered []byte, seq uint64) {
	p.mac.Reset()
	p.mac.Write(covered)
	if p.esn {
		binary.BigEndian.PutUint32(p.high[:], uint32(seq>>32))
		p.mac.Write(p.high[:])
	}
}
