package esp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/crypto/blake2s"
	"golang.org/x/crypto/chacha20poly1305"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// slowSeal seals as the RFCs are written, a block at a time and with allocations: the packet's parts are
// joined anew for each step, fields are integers, GF(2^128) is polynomials. It shares with what it checks
// the block ciphers, the hashes and ChaCha20-Poly1305 alone.
func slowSeal(c Config, seq uint64, iv, body []byte) []byte {
	header := binary.BigEndian.AppendUint32(nil, c.SPI)
	header = binary.BigEndian.AppendUint32(header, uint32(seq))
	number := header[4:8]
	if c.ESN {
		number = binary.BigEndian.AppendUint64(nil, seq)
	}
	e := c.Encryption
	key, salt, macKey := c.Keymat[:e.KeyLen], c.Keymat[e.KeyLen:e.KeymatLen()], c.Keymat[e.KeymatLen():]
	aad, nonce := slices.Concat(header[:4], number), slices.Concat([]byte(salt), iv)
	switch e.ID {
	case transform.EncrAESGCM16, transform.EncrAESGCM12, transform.EncrAESGCM8:
		encrypted, tag := slowGCM(key, nonce, aad, body)
		return slices.Concat(header, iv, encrypted, tag[:e.ICVLen])
	case transform.EncrNullAESGMAC:
		_, tag := slowGCM(key, nonce, slices.Concat(aad, iv, body), nil)
		return slices.Concat(header, iv, body, tag)
	case transform.EncrAESCCM16, transform.EncrAESCCM12, transform.EncrAESCCM8:
		return slices.Concat(header, iv, slowCCM(key, nonce, aad, body, e.ICVLen))
	case transform.EncrChaCha20Poly1305:
		aead, _ := chacha20poly1305.New(key)
		return slices.Concat(header, iv, aead.Seal(nil, nonce, body, aad))
	}
	packet := slices.Concat(header, iv, slowEncrypt(e, key, nonce, iv, body))
	covered := packet
	if c.ESN {
		covered = binary.BigEndian.AppendUint32(slices.Clone(packet), uint32(seq>>32))
	}
	return append(packet, slowMAC(c.Integrity, macKey, covered)[:c.Integrity.ICVLen]...)
}

func slowEncrypt(e transform.Encryption, key, nonce, iv, body []byte) []byte {
	switch e.ID {
	case transform.EncrAESCTR:
		return slowCTR(key, binary.BigEndian.AppendUint32(nonce, 1), body)
	case transform.EncrAESCBC, transform.Encr3DES:
		block, _ := aes.NewCipher(key)
		if e.ID == transform.Encr3DES {
			block, _ = des.NewTripleDESCipher(key)
		}
		var out []byte
		previous := iv
		for b := range slices.Chunk(body, block.BlockSize()) {
			previous = ecb(block, xor(previous, b))
			out = append(out, previous...)
		}
		return out
	}
	return body // NULL
}

func slowCTR(key, counter, body []byte) []byte {
	block, _ := aes.NewCipher(key)
	out := make([]byte, len(body))
	cipher.NewCTR(block, counter).XORKeyStream(out, body)
	return out
}

func ecb(block cipher.Block, in []byte) []byte {
	out := make([]byte, len(in))
	block.Encrypt(out, in)
	return out
}

func xor(a, b []byte) []byte {
	out := make([]byte, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] ^ b[i]
	}
	return out
}

func zeroPadded(p []byte) []byte { return append(slices.Clone(p), make([]byte, -len(p)&15)...) }

// slowGCM is NIST SP 800-38D section 7.1 with GHASH as in section 6.4.
func slowGCM(key, nonce, aad, plaintext []byte) (ciphertext, tag []byte) {
	block, _ := aes.NewCipher(key)
	j0 := binary.BigEndian.AppendUint32(slices.Clone(nonce), 1)
	ciphertext = slowCTR(key, binary.BigEndian.AppendUint32(slices.Clone(nonce), 2), plaintext)
	lengths := binary.BigEndian.AppendUint64(nil, uint64(len(aad))*8)
	lengths = binary.BigEndian.AppendUint64(lengths, uint64(len(ciphertext))*8)
	y := make([]byte, 16)
	for b := range slices.Chunk(slices.Concat(zeroPadded(aad), zeroPadded(ciphertext), lengths), 16) {
		y = gfMul(xor(y, b), ecb(block, make([]byte, 16)))
	}
	return ciphertext, xor(y, ecb(block, j0))
}

// gfMul multiplies in GCM's field: the first bit is the coefficient of x^0.
func gfMul(x, y []byte) []byte {
	z, v := new(big.Int), new(big.Int).SetBytes(y)
	r := new(big.Int).Lsh(big.NewInt(0xe1), 120)
	for i := range 128 {
		if x[i/8]>>(7-i%8)&1 == 1 {
			z.Xor(z, v)
		}
		low := v.Bit(0)
		v.Rsh(v, 1)
		if low == 1 {
			v.Xor(v, r)
		}
	}
	return z.FillBytes(make([]byte, 16))
}

// slowCCM is NIST SP 800-38C section 6.1, appendix A, for nonces of 11 bytes.
func slowCCM(key, nonce, aad, plaintext []byte, tagLen int) []byte {
	block, _ := aes.NewCipher(key)
	b0 := append([]byte{byte(0x40 + (tagLen-2)/2*8 + 3)}, nonce...)
	b0 = binary.BigEndian.AppendUint32(b0, uint32(len(plaintext)))
	a := binary.BigEndian.AppendUint16(nil, uint16(len(aad)))
	y := make([]byte, 16)
	for b := range slices.Chunk(slices.Concat(b0, zeroPadded(append(a, aad...)), zeroPadded(plaintext)), 16) {
		y = ecb(block, xor(y, b))
	}
	counter := func(i uint32) []byte { return binary.BigEndian.AppendUint32(append([]byte{3}, nonce...), i) }
	return append(slowCTR(key, counter(1), plaintext), xor(y, ecb(block, counter(0)))[:tagLen]...)
}

func slowMAC(i transform.Integrity, key, message []byte) []byte {
	switch i.ID {
	case transform.IntegHMACSHA1_96:
		return slowHMAC(sha1.New, key, message)
	case transform.IntegHMACSHA2_256_128:
		return slowHMAC(sha256.New, key, message)
	case transform.IntegHMACSHA2_384_192:
		return slowHMAC(sha512.New384, key, message)
	case transform.IntegHMACSHA2_512_256:
		return slowHMAC(sha512.New, key, message)
	case transform.IntegBLAKE2s128:
		h, _ := blake2s.New128(key)
		h.Write(message)
		return h.Sum(nil)
	}
	block, _ := aes.NewCipher(key)
	whole, padded := slowDouble(ecb(block, make([]byte, 16))), slowDouble(slowDouble(ecb(block, make([]byte, 16))))
	if i.ID == transform.IntegAESXCBC96 {
		whole, padded = ecb(block, bytes.Repeat([]byte{2}, 16)), ecb(block, bytes.Repeat([]byte{3}, 16))
		block, _ = aes.NewCipher(ecb(block, bytes.Repeat([]byte{1}, 16)))
	}
	mask := whole
	if len(message) == 0 || len(message)%16 != 0 {
		mask, message = padded, zeroPadded(append(slices.Clone(message), 0x80))
	}
	y := make([]byte, 16)
	for len(message) > 16 {
		y, message = ecb(block, xor(y, message[:16])), message[16:]
	}
	return ecb(block, xor(xor(y, message), mask))
}

// slowDouble is RFC 4493 section 2.3 with integers.
func slowDouble(b []byte) []byte {
	n := new(big.Int).Lsh(new(big.Int).SetBytes(b), 1)
	if n.Bit(128) == 1 {
		n.SetBit(n, 128, 0).Xor(n, big.NewInt(0x87))
	}
	return n.FillBytes(make([]byte, 16))
}

// slowHMAC is RFC 2104 section 2.
func slowHMAC(newHash func() hash.Hash, key, message []byte) []byte {
	sum := func(parts ...[]byte) []byte {
		h := newHash()
		h.Write(slices.Concat(parts...))
		return h.Sum(nil)
	}
	size := newHash().BlockSize()
	padded := append(slices.Clone(key), make([]byte, size-len(key))...)
	inner := sum(xor(padded, bytes.Repeat([]byte{0x36}, size)), message)
	return sum(xor(padded, bytes.Repeat([]byte{0x5c}, size)), inner)
}

// Random keys, numbers and payloads: what Seal makes is what slowSeal makes, byte for byte, and Open opens
// what slowSeal made with an IV of its own.
func TestAgainstSlow(t *testing.T) {
	forEachSuite(t, func(t *testing.T, c Config) {
		random := rand.New(rand.NewPCG(1, 2))
		fill := func(n int) []byte {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			return b
		}
		for range 12 {
			c.Keymat = fill(len(c.Keymat))
			seq := random.Uint64N(maxSeq(c.ESN)-1<<20) + 1
			s := newSealerAt(t, c, seq-1)
			inner, nextHeader := innerPacket(t, 4, 28+random.IntN(120))
			packet := mustSeal(t, s, inner, nextHeader)
			iv := packet[fixedLen:s.header]
			body := append(slices.Clone(inner), make([]byte, s.bodyLen(len(inner))-len(inner))...)
			putTrailer(body[len(inner):], nextHeader)
			if want := slowSeal(c, seq, iv, body); !bytes.Equal(packet, want) {
				t.Fatalf("seq %#x: sealed\n%x, want\n%x", seq, packet, want)
			}
			o, err := NewOpener(c)
			if err != nil {
				t.Fatal(err)
			}
			if seq > 1 {
				if err := o.window.Accept(seq - 1); err != nil {
					t.Fatal(err)
				}
			}
			got, err := o.Open(slowSeal(c, seq, fill(len(iv)), body))
			if err != nil || got.Seq != seq || !bytes.Equal(got.Payload, inner) {
				t.Fatalf("seq %#x: opened %+v, %v", seq, got, err)
			}
		}
	})
}
