package transform

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"fmt"
	"hash"

	"golang.org/x/crypto/blake2s"
)

// MAC computes ICVs under one key. It is not safe for concurrent use, and after NewMAC
// it allocates nothing, but that AES-GMAC keeps scratch space of the longest message.
type MAC struct {
	hash   hash.Hash
	icvLen int
	sum    []byte
}

// NewMAC returns a MAC under key material of exactly KeymatLen bytes, which the caller may
// then clear. Errors: ErrKeyLength, and ErrUnknown for NONE and for a row that is not of the
// table.
func (i Integrity) NewMAC(key Keymat) (*MAC, error) {
	if len(key) != i.KeymatLen() {
		return nil, fmt.Errorf("%w: %v needs %d bytes, got %d", ErrKeyLength, i, i.KeymatLen(), len(key))
	}
	if err := i.check(); err != nil {
		return nil, err
	}
	h, err := i.newHash(key)
	if err != nil {
		return nil, err
	}
	h.Reset() // the first one makes an HMAC remember its padded keys
	return &MAC{hash: h, icvLen: i.ICVLen, sum: make([]byte, 0, h.Size())}, nil
}

func (i Integrity) newHash(key []byte) (hash.Hash, error) {
	switch i.ID {
	case IntegHMACSHA2_256_128:
		return hmac.New(sha256.New, key), nil
	case IntegHMACSHA2_384_192:
		return hmac.New(sha512.New384, key), nil
	case IntegHMACSHA2_512_256:
		return hmac.New(sha512.New, key), nil
	case IntegHMACSHA1_96:
		return hmac.New(sha1.New, key), nil
	case IntegAESCMAC96:
		return newCMAC(key)
	case IntegAESXCBC96:
		return newXCBC(key)
	case IntegBLAKE2s128:
		return blake2s.New128(key)
	case IntegAES128GMAC, IntegAES192GMAC, IntegAES256GMAC:
		return newGMACHash(key[:i.KeyLen], key[i.KeyLen:])
	}
	return nil, fmt.Errorf("%w: integrity %v has no MAC", ErrUnknown, i)
}

// Reset begins a new message. For an algorithm with an IV, ResetIV does.
func (m *MAC) Reset() { m.hash.Reset() }

// ResetIV begins a new message under an IV of IVLen bytes. A sender never uses one twice
// under a key: two messages with one IV and their ICVs give the hash key away. For an algorithm
// without an IV it is Reset.
func (m *MAC) ResetIV(iv []byte) {
	m.hash.Reset()
	if g, ok := m.hash.(*gmacHash); ok {
		g.setIV(iv)
	}
}

// Write adds to the message. It never fails.
func (m *MAC) Write(p []byte) (int, error) { return m.hash.Write(p) }

// Len is the length of the ICV.
func (m *MAC) Len() int { return m.icvLen }

// AppendICV appends the message's ICV to dst.
func (m *MAC) AppendICV(dst []byte) []byte { return append(dst, m.icv()...) }

// Verify reports, in constant time, whether icv is the message's: whole, not a part of it.
func (m *MAC) Verify(icv []byte) bool { return subtle.ConstantTimeCompare(m.icv(), icv) == 1 }

// icv is valid until the next call.
func (m *MAC) icv() []byte {
	m.sum = m.hash.Sum(m.sum[:0])
	return m.sum[:m.icvLen]
}
