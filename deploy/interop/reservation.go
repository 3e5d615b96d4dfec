//go:build linux

package interop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// reservations is the agent's file of reserved sequence numbers (package agent/manual), as if the keys with ESN had been
// used until nearWrap: so our numbers, too, pass 2^32.
func reservations(cases []Keyed) ([]byte, error) {
	reserved := map[string]uint64{}
	for _, c := range cases {
		if c.ESN {
			reserved[fingerprint(c.sequenceKey(c.Key[Theirs]))] = nearWrap
		}
	}
	text, err := json.Marshal(reserved)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	return json.Marshal(map[string]any{"version": 1, "reserved": reserved, "sha256": hex.EncodeToString(sum[:])})
}

// sequenceKey is the part of the key material that sequence numbers belong to: the encryption key with its salt, or the
// integrity key where there is no other.
func (c Case) sequenceKey(keymat []byte) []byte {
	if n := c.Suite.Encryption.KeymatLen(); c.Protocol == ESP && n > 0 {
		return keymat[:n]
	}
	return keymat
}

// fingerprint is the agent's name of a key.
func fingerprint(key []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("sallyport manual key, sequence numbers"))
	return hex.EncodeToString(mac.Sum(nil))
}
