package manual

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// Fingerprint tells a key from others and reveals nothing of it.
type Fingerprint [sha256.Size]byte

// fingerprintLabel separates the fingerprint from every other use of the key.
const fingerprintLabel = "sallyport manual key, sequence numbers"

// fingerprint is HMAC-SHA-256 of a label under the key.
func fingerprint(key []byte) Fingerprint {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(fingerprintLabel))
	return Fingerprint(mac.Sum(nil))
}

// String is the fingerprint in hexadecimal.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// MarshalText implements encoding.TextMarshaler.
func (f Fingerprint) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, f[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler: it reads what MarshalText writes and nothing else.
func (f *Fingerprint) UnmarshalText(text []byte) error {
	if len(text) != hex.EncodedLen(len(f)) {
		return fmt.Errorf("a fingerprint of %d characters: want %d", len(text), hex.EncodedLen(len(f)))
	}
	if _, err := hex.Decode(f[:], text); err != nil {
		return err
	}
	if f.String() != string(text) {
		return fmt.Errorf("a fingerprint in capital letters")
	}
	return nil
}
