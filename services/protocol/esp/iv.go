package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// ivMaker makes the IVs of one outbound SA.
//
// Counter modes and combined modes need IVs that never repeat: the sequence number, in
// 64 bits with or without ESN, is unique by construction (RFC 3686 section 3.1, RFC 4106
// section 3.1, RFC 4309 section 3.1, RFC 4543 section 3.1, RFC 7634 section 2).
//
// CBC needs IVs that nobody can tell in advance (RFC 3602 section 3): who knows the next
// one can test guesses of an earlier block with a plaintext of his choice. Here it is the
// sequence number encrypted with AES-256. AES is a pseudorandom permutation: without the
// key an IV cannot be told from a random block even by who has seen all those before, and
// two sequence numbers never give one IV, which random IVs do not promise. The key serves
// nothing else. Under the SA's own key the IV of packet n would be the encryption of a
// block that an attacker may have had encrypted as data; so it is derived: HMAC-SHA-256
// under the encryption key, of a label and the SPI. What the peer sees is an IV like any
// other. 3DES takes the first 8 bytes: as unpredictable, and unique as random ones are.
//
// Under a key that outlives the process a random Config.IVSeed is hashed too, behind the SPI: should a number
// be used again after all, its IV is still another one.
type ivMaker struct {
	block cipher.Block // nil: the sequence number as it is
	in    [aes.BlockSize]byte
	out   [aes.BlockSize]byte
}

const ivLabel = "sallyport ESP CBC IV"

func newIVMaker(c Config) (ivMaker, error) {
	if !c.Encryption.UnpredictableIV() {
		return ivMaker{}, nil
	}
	kdf := hmac.New(sha256.New, c.Keymat[:c.Encryption.KeyLen])
	kdf.Write(binary.BigEndian.AppendUint32([]byte(ivLabel), c.SPI))
	kdf.Write(c.IVSeed)
	block, err := aes.NewCipher(kdf.Sum(nil))
	return ivMaker{block: block}, err
}

// put writes the IV of a sequence number: 8 bytes, a cipher block for CBC, none for NULL.
func (m *ivMaker) put(iv []byte, seq uint64) {
	switch {
	case m.block != nil:
		binary.BigEndian.PutUint64(m.in[aes.BlockSize-8:], seq)
		m.block.Encrypt(m.out[:], m.in[:])
		copy(iv, m.out[:])
	case len(iv) > 0:
		binary.BigEndian.PutUint64(iv, seq)
	}
}
