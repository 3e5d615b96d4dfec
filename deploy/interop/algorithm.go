//go:build linux

package interop

import (
	"fmt"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// The kernel's names are those of its crypto API and of net/xfrm/xfrm_algo.c, as `ip xfrm state` takes them.

// aead is the kernel's name of a combined mode; "" if it has none. The ICV's length in bits stands beside it.
func aead(e transform.Encryption) string {
	switch cipherName(e) {
	case "gcm":
		return "rfc4106(gcm(aes))"
	case "ccm":
		return "rfc4309(ccm(aes))"
	case "gmac":
		return "rfc4543(gcm(aes))"
	case "chacha20poly1305":
		return "rfc7539esp(chacha20,poly1305)"
	}
	return ""
}

// cipher is the kernel's name of a cipher; "" if it has none.
func cipher(e transform.Encryption) string {
	switch cipherName(e) {
	case "cbc":
		return "cbc(aes)"
	case "ctr":
		return "rfc3686(ctr(aes))"
	case "3des":
		return "cbc(des3_ede)"
	case "null":
		return "ecb(cipher_null)"
	}
	return ""
}

// hash is the kernel's name of an integrity algorithm; "" if it has none.
func hash(i transform.Integrity) string {
	switch i.ID {
	case transform.IntegHMACSHA1_96:
		return "hmac(sha1)"
	case transform.IntegHMACSHA2_256_128:
		return "hmac(sha256)"
	case transform.IntegHMACSHA2_384_192:
		return "hmac(sha384)"
	case transform.IntegHMACSHA2_512_256:
		return "hmac(sha512)"
	case transform.IntegAESXCBC96:
		return "xcbc(aes)"
	case transform.IntegAESCMAC96:
		return "cmac(aes)"
	}
	return ""
}

// inPeer says whether the kernel has the suite.
func inPeer(s transform.Suite) bool {
	if s.Encryption.AEAD() {
		return aead(s.Encryption) != ""
	}
	return cipher(s.Encryption) != "" && hash(s.Integrity) != ""
}

// algorithms are the words of `ip xfrm state add` for the case's transform with this key material.
func (c Case) algorithms(keymat []byte) string {
	if c.Protocol == AH {
		return auth(c.Integrity, keymat)
	}
	e := c.Suite.Encryption
	if e.AEAD() {
		return fmt.Sprintf("aead '%s' 0x%x %d", aead(e), keymat, 8*e.ICVLen)
	}
	key, integrity := keymat[:e.KeymatLen()], keymat[e.KeymatLen():]
	word := `""`
	if len(key) > 0 {
		word = fmt.Sprintf("0x%x", key)
	}
	return fmt.Sprintf("enc '%s' %s %s", cipher(e), word, auth(c.Suite.Integrity, integrity))
}

func auth(i transform.Integrity, key []byte) string {
	return fmt.Sprintf("auth-trunc '%s' 0x%x %d", hash(i), key, 8*i.ICVLen)
}

// keymatLen is the length of the case's key material in one direction.
func (c Case) keymatLen() int {
	if c.Protocol == AH {
		return c.Integrity.KeyLen
	}
	return c.Suite.KeymatLen()
}
