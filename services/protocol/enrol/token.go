package enrol

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
)

// A join token in text, all lower case, 109 bytes:
//
//	sp1 . id     . secret . root hash . checksum
//	      16       26       52          8         characters of base32 without padding
//
// The checksum is the first 40 bits of SHA-256 over all before the last dot. It keeps no secret; it
// tells a token that was mistyped from one that is wrong.
const (
	tokenPrefix = "sp1."
	idLen       = 16
	secretLen   = 26
	hashLen     = 52
	checkLen    = 8
	tokenLen    = len(tokenPrefix) + idLen + 1 + secretLen + 1 + hashLen + 1 + checkLen
)

// Errors of ParseToken. None repeats any part of the token.
var (
	// ErrTokenPrefix means that the text is no join token at all.
	ErrTokenPrefix = errors.New("not a join token: it must begin with \"sp1.\"")
	// ErrTokenTruncated means that the text ends too early.
	ErrTokenTruncated = errors.New("the join token is not whole: copy it again, to the last character")
	// ErrTokenMalformed means that the text has a character too many, or one that no token has.
	ErrTokenMalformed = errors.New("the join token has a character that does not belong there: copy it again")
	// ErrTokenChecksum means that the text has the right form but some character is wrong.
	ErrTokenChecksum = errors.New("the join token has a typing error (its checksum does not match): copy it again")
)

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const redacted = "[redacted]"

// Secret is the secret half of a join token. It shows as [redacted] wherever it is printed.
type Secret [16]byte

// String returns a placeholder, never the secret.
func (Secret) String() string { return redacted }

// Format prints a placeholder for every verb, %x and %d too.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText returns a placeholder, so that JSON and logs hold no secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Token is a join token.
type Token struct {
	// ID is the public part: 16 characters of base32. It names the JoinToken resource.
	ID string
	// Secret is what the host proves to have.
	Secret Secret
	// RootHash is the SHA-256 of the SubjectPublicKeyInfo of the fleet's root.
	RootHash [sha256.Size]byte
}

// NewToken makes a token from 10 random bytes for its id and 16 for its secret.
func NewToken(id [10]byte, secret Secret, rootHash [sha256.Size]byte) Token {
	return Token{ID: encoding.EncodeToString(id[:]), Secret: secret, RootHash: rootHash}
}

// String returns the token without its secret.
func (t Token) String() string { return tokenPrefix + t.ID + "." + redacted }

// MarshalText returns the token without its secret.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Format prints the token without its secret, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// Reveal returns the whole token, secret and all, as a person pastes it.
func (t Token) Reveal() string {
	body := tokenPrefix + t.ID + "." + encoding.EncodeToString(t.Secret[:]) + "." + encoding.EncodeToString(t.RootHash[:])
	return body + "." + checksum(body)
}

func checksum(body string) string {
	sum := sha256.Sum256([]byte(body))
	return encoding.EncodeToString(sum[:5])
}

// ParseToken reads a token as Reveal writes it; white space around it does not matter. Its errors
// are this file's and say what to do.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	switch n := min(len(text), len(tokenPrefix)); {
	case n == 0 || text[:n] != tokenPrefix[:n]:
		return Token{}, ErrTokenPrefix
	case !wellFormed(text):
		return Token{}, ErrTokenMalformed
	case len(text) < tokenLen:
		return Token{}, ErrTokenTruncated
	}
	body, check := text[:tokenLen-checkLen-1], text[tokenLen-checkLen:]
	if subtle.ConstantTimeCompare([]byte(checksum(body)), []byte(check)) != 1 {
		return Token{}, ErrTokenChecksum
	}
	rest := body[len(tokenPrefix):]
	t := Token{ID: rest[:idLen]}
	rest = rest[idLen+1:]
	if !decode(t.Secret[:], rest[:secretLen]) || !decode(t.RootHash[:], rest[secretLen+1:]) {
		return Token{}, ErrTokenMalformed
	}
	return t, nil
}

// wellFormed reports whether text is a token or the beginning of one, going by its characters.
func wellFormed(text string) bool {
	if len(text) > tokenLen {
		return false
	}
	for i := len(tokenPrefix); i < len(text); i++ {
		if isDot(i) != (text[i] == '.') || text[i] != '.' && !isBase32(text[i]) {
			return false
		}
	}
	return true
}

// isDot reports whether the i-th byte of a token is a dot.
func isDot(i int) bool {
	const afterID = len(tokenPrefix) + idLen
	const afterSecret = afterID + 1 + secretLen
	return i == afterID || i == afterSecret || i == tokenLen-checkLen-1
}

func isBase32(c byte) bool { return 'a' <= c && c <= 'z' || '2' <= c && c <= '7' }

// decode fills dst from text; false when text is not the one way to write dst.
func decode(dst []byte, text string) bool {
	raw, err := encoding.DecodeString(text)
	if err != nil || len(raw) != len(dst) || encoding.EncodeToString(raw) != text {
		return false
	}
	copy(dst, raw)
	return true
}

// ValidTokenID reports whether id can be the public part of a token.
func ValidTokenID(id string) bool {
	if len(id) != idLen {
		return false
	}
	for i := range len(id) {
		if !isBase32(id[i]) {
			return false
		}
	}
	return true
}
