package transform

import (
	"bytes"
	"slices"
	"strconv"
	"testing"
)

// mustNotOpen stands for the plaintext in vectors whose tag is wrong.
const mustNotOpen = "FAIL"

func TestNISTCiphers(t *testing.T) {
	rows := readVectors(t, "nist-ciphers.txt", 5, 100)
	for _, row := range rows {
		e, err := InsecureByName(row[0])
		if err != nil {
			t.Fatal(err)
		}
		c, err := e.NewCipher(hexColumn(t, row[1]))
		if err != nil {
			t.Fatal(err)
		}
		iv, plaintext, want := hexColumn(t, row[2]), hexColumn(t, row[3]), hexColumn(t, row[4])
		body := bytes.Clone(plaintext)
		c.Encrypt(body, iv)
		if !bytes.Equal(body, want) {
			t.Errorf("%s: encrypted %x, want %x", row[0], body, want)
		}
		c.Decrypt(body, iv)
		if !bytes.Equal(body, plaintext) {
			t.Errorf("%s: decrypted %x, want %x", row[0], body, plaintext)
		}
	}
	t.Logf("%d run", len(rows))
}

func TestNISTGCM(t *testing.T) {
	sealed, forged, gmac := 0, 0, 0
	for _, row := range readVectors(t, "nist-gcm.txt", 6, 198) {
		tagLen, err := strconv.Atoi(row[0])
		if err != nil {
			t.Fatal(err)
		}
		key, nonce, aad, ciphertext := hexColumn(t, row[1]), hexColumn(t, row[2]), hexColumn(t, row[3]), hexColumn(t, row[5])
		aead, err := newGCM(key, tagLen)
		if err != nil {
			t.Fatal(err)
		}
		if tagLen == gcmStandardTag && len(ciphertext) == tagLen {
			gmac++
			checkNISTGMAC(t, key, nonce, aad, ciphertext, row[4] != mustNotOpen)
		}
		if row[4] == mustNotOpen {
			forged++
			if got, err := aead.Open(nil, nonce, ciphertext, aad); err == nil {
				t.Errorf("key %x, nonce %x: opened %x", key, nonce, got)
			}
			continue
		}
		sealed++
		checkAEAD(t, "GCM", aead, nonce, aad, hexColumn(t, row[4]), ciphertext)
	}
	t.Logf("%d sealed and opened, %d forged; %d of both were GMAC's too", sealed, forged, gmac)
	if sealed != 99 || forged != 99 || gmac != 30 {
		t.Error("want 99, 99 and 30")
	}
}

// checkNISTGMAC authenticates a message as ESP's AES-GMAC does, cut anywhere in additional data and payload,
// and as AH's.
func checkNISTGMAC(t *testing.T, key, nonce, message, tag []byte, valid bool) {
	t.Helper()
	aead, err := newGMAC(key)
	if err != nil {
		t.Fatal(err)
	}
	h, err := newGMACHash(key, nonce[:4])
	if err != nil {
		t.Fatal(err)
	}
	mac := &MAC{hash: h, icvLen: len(tag)}
	for cut := range len(message) + 1 {
		got, err := aead.Open(nil, nonce, slices.Concat(message[cut:], tag), message[:cut])
		if (err == nil) != valid || valid && !bytes.Equal(got, message[cut:]) {
			t.Errorf("key %x, cut at %d: %x, %v", key, cut, got, err)
		}
		mac.ResetIV(nonce[4:])
		mac.Write(message[:cut])
		mac.Write(message[cut:])
		if mac.Verify(tag) != valid {
			t.Errorf("key %x, cut at %d: Verify says %v", key, cut, !valid)
		}
	}
}

func TestNISTCCM(t *testing.T) {
	sealed, forged := 0, 0
	for _, row := range readVectors(t, "nist-ccm.txt", 6, 312) {
		key, nonce := hexColumn(t, row[0]), hexColumn(t, row[1])
		tagLen, err := strconv.Atoi(row[2])
		if err != nil {
			t.Fatal(err)
		}
		aead, err := newCCM(key, len(nonce), tagLen)
		if err != nil {
			t.Fatal(err)
		}
		aad, ciphertext := hexColumn(t, row[3]), hexColumn(t, row[5])
		if row[4] == mustNotOpen {
			forged++
			if got, err := aead.Open(nil, nonce, ciphertext, aad); err == nil {
				t.Errorf("key %x, nonce %x: opened %x", key, nonce, got)
			}
			continue
		}
		sealed++
		checkAEAD(t, "CCM", aead, nonce, aad, hexColumn(t, row[4]), ciphertext)
	}
	t.Logf("%d sealed and opened, %d forged", sealed, forged)
	if sealed != 264 || forged != 48 {
		t.Error("want 264 and 48")
	}
}

// The combined mode's ciphertext is ChaCha20's from block 1 on, RFC 8439 section 2.8.
func TestChaCha20Vector(t *testing.T) {
	row := readVectors(t, "chacha20.txt", 4, 1)[0]
	e, err := ByName("chacha20poly1305")
	if err != nil {
		t.Fatal(err)
	}
	nonce, plaintext, want := hexColumn(t, row[1]), hexColumn(t, row[2]), hexColumn(t, row[3])
	aead, salt, err := e.NewAEAD(slices.Concat(Keymat(hexColumn(t, row[0])), Keymat(nonce[:4])))
	if err != nil || !bytes.Equal(salt, nonce[:4]) {
		t.Fatalf("salt %x, %v", salt, err)
	}
	if got := aead.Seal(nil, nonce, plaintext, nil); len(want) != 375 || !bytes.Equal(got[:len(want)], want) {
		t.Errorf("sealed %x, want %x", got, want)
	}
}
