//go:build linux

package host

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"time"
)

// cipherPacket is the plaintext of one packet, bytes.
const cipherPacket = 1400

// RawCipher is the rate at which one core seals packets of 1,400 bytes by the standard library's AES-128-GCM, in Gbit/s:
// what no datapath on this machine can pass.
func RawCipher(d time.Duration) (float64, error) {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	packet := make([]byte, cipherPacket, cipherPacket+gcm.Overhead())
	var nonce [12]byte
	begin, n := time.Now(), 0
	for time.Since(begin) < d {
		for range 256 { // so that the clock costs nothing
			n++
			binary.BigEndian.PutUint64(nonce[4:], uint64(n))
			gcm.Seal(packet[:0], nonce[:], packet, nonce[:8])
		}
	}
	return float64(n) * cipherPacket * 8 / 1e9 / time.Since(begin).Seconds(), nil
}
