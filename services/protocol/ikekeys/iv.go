package ikekeys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// ivMaker makes the IVs of one end's messages from the fencing token and a counter, 32 bits
// each, that together never repeat under a key.
//
// Counter modes and combined modes take them as they are: 8 bytes that never repeat are all they
// need (RFC 5282 section 3.1, RFC 5930, RFC 7634 section 2). CBC needs IVs that nobody
// can tell in advance: there they are encrypted as one block (NIST SP 800-38A appendix C), with
// AES-256 under a key that serves nothing else, so that an IV is never the encryption of a block
// that a peer may have chosen. 3DES takes the first 8 bytes of it.
type ivMaker struct {
	state State
	block cipher.Block // nil but for CBC
}

const ivLabel = "sallyport IKE CBC IV"

func newIVMaker(e transform.Encryption, ke []byte, token uint32) (ivMaker, error) {
	m := ivMaker{state: State{Token: token}}
	if !e.UnpredictableIV() {
		return m, nil
	}
	kdf := hmac.New(sha256.New, ke)
	kdf.Write([]byte(ivLabel))
	var err error
	m.block, err = aes.NewCipher(kdf.Sum(nil))
	return m, err
}

// next writes the next IV, of at most 16 bytes. Error: ErrExhausted.
func (m *ivMaker) next(iv []byte) error {
	if m.state.Counter == math.MaxUint32 {
		return fmt.Errorf("%w: %d", ErrExhausted, m.state.Token)
	}
	m.state.Counter++
	var b [aes.BlockSize]byte
	binary.BigEndian.PutUint32(b[:], m.state.Token)
	binary.BigEndian.PutUint32(b[4:], m.state.Counter)
	if m.block != nil {
		m.block.Encrypt(b[:], b[:])
	}
	copy(iv, b[:])
	return nil
}
