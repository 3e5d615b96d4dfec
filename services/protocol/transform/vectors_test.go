package transform

import (
	"bytes"
	"crypto/cipher"
	"os"
	"strconv"
	"strings"
	"testing"
)

// readVectors returns the columns of a file of testdata, whose comments name the sources.
func readVectors(t *testing.T, file string, columns, atLeast int) [][]string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(text)) {
		row := strings.Fields(line)
		if len(row) == 0 || row[0][0] == '#' {
			continue
		}
		if len(row) != columns {
			t.Fatalf("%s: %q has not %d columns", file, line, columns)
		}
		rows = append(rows, row)
	}
	if len(rows) < atLeast {
		t.Fatalf("%s has %d vectors, want %d", file, len(rows), atLeast)
	}
	return rows
}

// hexColumn decodes a column; "-" is nothing.
func hexColumn(t *testing.T, s string) []byte {
	t.Helper()
	if s == "-" {
		return nil
	}
	return unhex(t, s)
}

func TestMACVectors(t *testing.T) {
	for _, row := range readVectors(t, "macs.txt", 4, 59) {
		key, message, want := hexColumn(t, row[1]), hexColumn(t, row[2]), hexColumn(t, row[3])
		i, err := IntegrityByName(row[0])
		if err != nil {
			t.Fatal(err)
		}
		h, err := i.newHash(key) // the vectors' keys are not all of the length that ESP wants
		if err != nil {
			t.Fatal(err)
		}
		for cut := range len(message) + 1 {
			h.Reset()
			h.Write(message[:cut])
			h.Sum(nil) // changes nothing
			h.Write(message[cut:])
			if got := h.Sum(nil); !bytes.HasPrefix(got, want) {
				t.Errorf("%s %x, cut at %d: %x, want %x", row[0], message, cut, got, want)
			}
		}
		if len(key) != i.KeyLen {
			continue
		}
		mac, err := i.NewMAC(key)
		if err != nil {
			t.Fatal(err)
		}
		mac.Write(message)
		if got := mac.AppendICV(nil); len(got) != i.ICVLen || !bytes.HasPrefix(want, got) || !mac.Verify(got) {
			t.Errorf("%s: the ICV is %x", row[0], got)
		}
		for n := range i.ICVLen {
			if mac.Verify(want[:n]) {
				t.Errorf("%s: %d bytes of the ICV are enough", row[0], n)
			}
			bad := bytes.Clone(want[:i.ICVLen])
			bad[n] ^= 0x80
			if mac.Verify(bad) {
				t.Errorf("%s: byte %d of the ICV does not count", row[0], n)
			}
		}
		if mac.Verify(append(bytes.Clone(want[:i.ICVLen]), 0)) {
			t.Errorf("%s: a byte behind the ICV is ignored", row[0])
		}
	}
}

func TestCipherVectors(t *testing.T) {
	for _, row := range readVectors(t, "ciphers.txt", 5, 17) {
		e, err := InsecureByName(row[0])
		if err != nil {
			t.Fatal(err)
		}
		c, err := e.NewCipher(hexColumn(t, row[1]))
		if err != nil {
			t.Fatal(err)
		}
		iv, plaintext, want := hexColumn(t, row[2]), hexColumn(t, row[3]), hexColumn(t, row[4])
		for range 2 { // the second time from whatever state the first has left
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
	}
}

func TestAEADVectors(t *testing.T) {
	seen := map[uint16]bool{}
	for _, row := range readVectors(t, "aeads.txt", 6, 32) {
		e, err := ByName(row[0])
		if err != nil {
			t.Fatal(err)
		}
		seen[e.ID] = true
		aead, salt, err := e.NewAEAD(hexColumn(t, row[1]))
		if err != nil {
			t.Fatal(err)
		}
		nonce := append(salt, hexColumn(t, row[2])...)
		checkAEAD(t, row[0], aead, nonce, hexColumn(t, row[3]), hexColumn(t, row[4]), hexColumn(t, row[5]))
	}
	for _, e := range Encryptions() {
		if e.AEAD() && !seen[e.ID] {
			t.Errorf("there is no vector for %s", e)
		}
	}
}

// checkAEAD seals and opens apart and in place, and lets no flipped bit through.
func checkAEAD(t *testing.T, name string, aead cipher.AEAD, nonce, aad, plaintext, want []byte) {
	t.Helper()
	if got := aead.Seal([]byte("dst"), nonce, plaintext, aad); !bytes.Equal(got[3:], want) || string(got[:3]) != "dst" {
		t.Errorf("%s: sealed %x, want %x", name, got, want)
	}
	buf := append(make([]byte, 0, len(want)), plaintext...)
	if got := aead.Seal(buf[:0], nonce, buf, aad); !bytes.Equal(got, want) {
		t.Errorf("%s: sealed in place %x, want %x", name, got, want)
	}
	if got, err := aead.Open([]byte("dst"), nonce, want, aad); err != nil || !bytes.Equal(got[3:], plaintext) || string(got[:3]) != "dst" {
		t.Errorf("%s: opened %x, %v", name, got, err)
	}
	buf = bytes.Clone(want)
	if got, err := aead.Open(buf[:0], nonce, buf, aad); err != nil || !bytes.Equal(got, plaintext) {
		t.Errorf("%s: opened in place %x, %v", name, got, err)
	}
	for bit := range 8 * len(want) {
		bad := bytes.Clone(want)
		bad[bit/8] ^= 1 << (bit % 8)
		if got, err := aead.Open(nil, nonce, bad, aad); err == nil || got != nil {
			t.Fatalf("%s: bit %d flipped: %x, %v", name, bit, got, err)
		}
	}
	for n := range want {
		if _, err := aead.Open(nil, nonce, want[:n], aad); err == nil {
			t.Fatalf("%s: %d of %d bytes were opened", name, n, len(want))
		}
	}
	if _, err := aead.Open(nil, nonce, want, append(bytes.Clone(aad), 0)); err == nil {
		t.Errorf("%s: opened with other additional data", name)
	}
}

func TestCCMVectors(t *testing.T) {
	for _, row := range readVectors(t, "ccm.txt", 6, 6) {
		nonce := hexColumn(t, row[1])
		tagLen, err := strconv.Atoi(row[2])
		if err != nil {
			t.Fatal(err)
		}
		aead, err := newCCM(hexColumn(t, row[0]), len(nonce), tagLen)
		if err != nil {
			t.Fatal(err)
		}
		checkAEAD(t, "CCM", aead, nonce, hexColumn(t, row[3]), hexColumn(t, row[4]), hexColumn(t, row[5]))
	}
}

// NIST SP 800-38C, appendix C, example 4: 65536 bytes of associated data, whose length takes 6.
func TestCCMLongAssociatedData(t *testing.T) {
	aead, err := newCCM(unhex(t, "404142434445464748494a4b4c4d4e4f"), 13, 14)
	if err != nil {
		t.Fatal(err)
	}
	var aad []byte
	for i := range 65536 {
		aad = append(aad, byte(i))
	}
	plaintext := unhex(t, "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f")
	checkAEAD(t, "CCM", aead, unhex(t, "101112131415161718191a1b1c"), aad, plaintext, unhex(t,
		"69915dad1e84c6376a68c2967e4dab615ae0fd1faec44cc484828529463ccf72b4ac6bec93e8598e7f0dadbcea5b"))
}

// A message that the length field cannot hold is not opened; 2 bytes of length are left by a nonce of 13.
func TestCCMTooLong(t *testing.T) {
	aead, err := newCCM(make([]byte, 16), 13, 8)
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, 13)
	sealed := aead.Seal(nil, nonce, make([]byte, 65535), nil)
	if got, err := aead.Open(nil, nonce, sealed, nil); err != nil || len(got) != 65535 {
		t.Errorf("65535 bytes: %d, %v", len(got), err)
	}
	if _, err := aead.Open(nil, nonce, append(sealed, 0), nil); err != errOpen {
		t.Errorf("65536 bytes: %v", err)
	}
	mustPanic(t, "Seal of 65536 bytes", func() { aead.Seal(nil, nonce, make([]byte, 65536), nil) })
	mustPanic(t, "Seal with a short nonce", func() { aead.Seal(nil, nonce[1:], nil, nil) })
	mustPanic(t, "Open with a short nonce", func() { aead.Open(nil, nonce[1:], sealed, nil) })
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s does not panic", what)
		}
	}()
	f()
}

// A forged packet's plaintext does not stay where the caller would look for it.
func TestCCMWipesForged(t *testing.T) {
	aead, err := newCCM(make([]byte, 16), 11, 8)
	if err != nil {
		t.Fatal(err)
	}
	plaintext := []byte("secret secret secret")
	sealed := aead.Seal(nil, make([]byte, 11), plaintext, nil)
	sealed[len(sealed)-1] ^= 1
	if _, err := aead.Open(sealed[:0], make([]byte, 11), sealed, nil); err == nil {
		t.Fatal("forged packet was opened")
	}
	if n := len(plaintext); !bytes.Equal(sealed[:n], make([]byte, n)) {
		t.Errorf("the buffer has %x", sealed[:n])
	}
}
