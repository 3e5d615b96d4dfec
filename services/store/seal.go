package store

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"
)

// A sealed value:
//
//	"SPS" | version 1 | kind 1 | key id 8 | salt 32 | AES-256-GCM ciphertext and tag
//
// kind is 'R' (root key) or 'T' (hourly traffic key). The data key is
// HKDF-SHA256(key, salt, purpose || path) and serves once, so GCM's nonce is
// zero. The associated data are the header and the path.
const (
	sealMagic   = "SPS"
	sealVersion = 1
	saltLen     = 32
	sealHeader  = len(sealMagic) + 2 + len(keyID{}) + saltLen

	kindRoot    = 'R'
	kindTraffic = 'T'

	// SealOverhead is how much longer a sealed value is than its plaintext.
	SealOverhead = sealHeader + 16
)

func purpose(kind byte) string {
	if kind == kindTraffic {
		return "sallyport store traffic v1\x00"
	}
	return "sallyport store seal v1\x00"
}

// Seal encrypts plaintext for the etcd key path (the full key), with a fresh
// data key.
func (k *Keyring) Seal(path string, plaintext []byte) ([]byte, error) {
	return seal(kindRoot, k.rootID, k.root, path, plaintext)
}

// Unseal opens what Seal made for the same path. The error is ErrSeal.
func (k *Keyring) Unseal(path string, sealed []byte) ([]byte, error) {
	id, err := parseSealed(kindRoot, sealed)
	if err != nil {
		return nil, err
	}
	if id != k.rootID {
		return nil, fmt.Errorf("%w: it was sealed under another root key", ErrSeal)
	}
	return unseal(kindRoot, k.root, path, sealed)
}

func seal(kind byte, id keyID, key []byte, path string, plaintext []byte) ([]byte, error) {
	out := make([]byte, 0, len(plaintext)+SealOverhead)
	out = append(out, sealMagic...)
	out = append(out, sealVersion, kind)
	out = append(out, id[:]...)
	out = out[:sealHeader]
	rand.Read(out[sealHeader-saltLen:])
	aead, err := dataKey(kind, key, out[sealHeader-saltLen:], path)
	if err != nil {
		return nil, err
	}
	return aead.Seal(out, make([]byte, aead.NonceSize()), plaintext, sealAAD(out, path)), nil
}

func unseal(kind byte, key []byte, path string, sealed []byte) ([]byte, error) {
	header, body := sealed[:sealHeader], sealed[sealHeader:]
	aead, err := dataKey(kind, key, header[sealHeader-saltLen:], path)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, make([]byte, aead.NonceSize()), body, sealAAD(header, path))
	if err != nil {
		return nil, ErrSeal
	}
	return plaintext, nil
}

// parseSealed checks the header and returns the key's id.
func parseSealed(kind byte, sealed []byte) (keyID, error) {
	want := append([]byte(sealMagic), sealVersion, kind)
	if len(sealed) < SealOverhead || !bytes.HasPrefix(sealed, want) {
		return keyID{}, ErrSeal
	}
	return keyID(sealed[len(want):]), nil
}

func dataKey(kind byte, key, salt []byte, path string) (cipher.AEAD, error) {
	data, err := hkdf.Key(sha256.New, key, salt, purpose(kind)+path, 32)
	if err != nil {
		return nil, fmt.Errorf("store: data key: %w", err)
	}
	block, err := aes.NewCipher(data)
	if err != nil {
		return nil, fmt.Errorf("store: data key: %w", err)
	}
	clear(data)
	return cipher.NewGCM(block)
}

func sealAAD(header []byte, path string) []byte {
	return append(bytes.Clone(header[:sealHeader]), path...)
}

// Fingerprint tells secrets apart without showing them: equal ones have equal fingerprints, of 32
// hexadecimal digits. It is keyed with the root key, so that nobody can try out weak secrets on it.
func (k *Keyring) Fingerprint(secret []byte) (string, error) {
	key, err := hkdf.Key(sha256.New, k.root, nil, "sallyport store fingerprint v1", 32)
	if err != nil {
		return "", fmt.Errorf("store: fingerprint: %w", err)
	}
	defer clear(key)
	mac := hmac.New(sha256.New, key)
	mac.Write(secret)
	return hex.EncodeToString(mac.Sum(nil)[:16]), nil
}

// Keys is the keyring that the Store was opened with.
func (s *Store) Keys() *Keyring { return s.keys }

// Seal seals a value that will be put under key (relative to the prefix).
func (s *Store) Seal(key string, plaintext []byte) ([]byte, error) {
	if s.keys == nil {
		return nil, errNoKeyring
	}
	return s.keys.Seal(s.prefix+key, plaintext)
}

// Unseal opens a value that was read from key. The error is ErrSeal.
func (s *Store) Unseal(key string, sealed []byte) ([]byte, error) {
	if s.keys == nil {
		return nil, errNoKeyring
	}
	return s.keys.Unseal(s.prefix+key, sealed)
}

// SealTraffic is Keyring.SealTraffic for a value that will be put under key.
func (s *Store) SealTraffic(key string, plaintext []byte, hardExpiry time.Time) ([]byte, error) {
	if s.keys == nil {
		return nil, errNoKeyring
	}
	return s.keys.SealTraffic(s.prefix+key, plaintext, hardExpiry)
}

// UnsealTraffic opens a value of SealTraffic that was read from key. The error
// is ErrSeal, also after the hourly key was destroyed.
func (s *Store) UnsealTraffic(key string, sealed []byte) ([]byte, error) {
	if s.keys == nil {
		return nil, errNoKeyring
	}
	return s.keys.UnsealTraffic(s.prefix+key, sealed)
}

// Fingerprint is Keyring.Fingerprint.
func (s *Store) Fingerprint(secret []byte) (string, error) {
	if s.keys == nil {
		return "", errNoKeyring
	}
	return s.keys.Fingerprint(secret)
}

var errNoKeyring = fmt.Errorf("%w: this store was opened without a keyring", ErrSeal)
