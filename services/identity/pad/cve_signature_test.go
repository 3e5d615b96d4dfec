package pad_test

// Regression tests of published faults of strongSwan and Libreswan that a PAD can have. Each name is the CVE's.
// What they cannot touch is not here: faults of C's memory in code that has no counterpart, and of IKEv1 and EAP.

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"testing"

	"sallyport.dev/sallyport/services/identity/pad"
	"sallyport.dev/sallyport/services/identity/pad/padtest"
	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// pinned is a database that knows one key.
func pinned(t testing.TB, key crypto.PublicKey) *pad.Database {
	t.Helper()
	return database(t, pad.Config{Entries: []pad.Entry{entry(t, "peer", remoteID, pad.Accept{Keys: []crypto.PublicKey{key}})}})
}

// signed is a claim with a signature as it is.
func signed(t testing.TB, method ikewire.AuthMethod, algorithm, value []byte) pad.Claim {
	t.Helper()
	claim := peer{remoteID, []pad.Credential{{Secret: secret(t, "x")}}}.claim(t)
	claim.AUTH = ikewire.AUTH{Method: method, Data: value}
	if method == ikewire.AuthDigitalSig {
		claim.AUTH.Data = append(append([]byte{uint8(len(algorithm))}, algorithm...), value...)
	}
	return claim
}

func pkcs1() []byte { return ikewire.SignRSAPKCS1SHA256.AlgorithmIdentifier() }

// digestInfo is what PKCS #1 v1.5 encodes, its AlgorithmIdentifier as given.
func digestInfo(t testing.TB, parameters []byte) []byte {
	t.Helper()
	type algorithm struct {
		OID        asn1.ObjectIdentifier
		Parameters asn1.RawValue `asn1:"optional"`
	}
	hash := sha256.Sum256([]byte(octets))
	a := algorithm{OID: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}}
	if parameters != nil {
		a.Parameters = asn1.RawValue{FullBytes: parameters}
	}
	der, err := asn1.Marshal(struct {
		Algorithm algorithm
		Digest    []byte
	}{a, hash[:]})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// encoded signs an encoded message of any form with a private key.
func encoded(key *rsa.PrivateKey, message []byte) []byte {
	m := new(big.Int).SetBytes(message)
	return m.Exp(m, key.D, key.N).FillBytes(make([]byte, key.Size()))
}

// padded is 00 01 FF… 00 with n bytes of FF, then the rest; without enough FF the tail is garbage.
func padded(size, n int, info, garbage []byte) []byte {
	em := append([]byte{0, 1}, bytes.Repeat([]byte{0xff}, n)...)
	em = append(append(em, 0), info...)
	em = append(em, garbage...)
	return append(em, bytes.Repeat([]byte{0x5a}, max(0, size-len(em)))...)[:size]
}

// TestCVE_2018_16151_16152_PKCS1Laxness: strongSwan's gmp plugin (and CVE-2018-15836 in Openswan) parsed the
// encoded message instead of comparing it: garbage behind the hash, in the parameters, or in the OID made
// signatures of keys with exponent 3 forgeable.
func TestCVE_2018_16151_16152_PKCS1Laxness(t *testing.T) {
	key := padtest.Key(t, "rsa2048").(*rsa.PrivateKey)
	d, size := pinned(t, key.Public()), key.Size()
	null := []byte{5, 0}
	exact := digestInfo(t, null)
	longer := digestInfo(t, append([]byte{4, 0x10}, make([]byte, 16)...))
	for name, c := range map[string]struct {
		em   []byte
		want pad.Code
	}{
		"exact":                          {padded(size, size-3-len(exact), exact, nil), 0},
		"garbage behind the hash":        {padded(size, 8, exact, nil), pad.KeyNotPinned},
		"one byte of padding less":       {padded(size, size-4-len(exact), exact, []byte{0}), pad.KeyNotPinned},
		"garbage for parameters":         {padded(size, size-3-len(longer), longer, nil), pad.KeyNotPinned},
		"no parameters":                  {padded(size, size-3-len(digestInfo(t, nil)), digestInfo(t, nil), nil), pad.KeyNotPinned},
		"block type 2":                   {append([]byte{0, 2}, padded(size, size-3-len(exact), exact, nil)[2:]...), pad.KeyNotPinned},
		"a hash and no DigestInfo":       {padded(size, size-3-32, exact[len(exact)-32:], nil), pad.KeyNotPinned},
		"another byte among the padding": {func() []byte { em := padded(size, size-3-len(exact), exact, nil); em[9] = 0xfe; return em }(), pad.KeyNotPinned},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, d, signed(t, ikewire.AuthDigitalSig, pkcs1(), encoded(key, c.em)), c.want)
			expect(t, d, signed(t, ikewire.AuthRSA, nil, encoded(key, c.em)), c.want)
		})
	}
}

// TestBleichenbacher2006_ExponentThree: the forgery itself, a cube root, needs no private key.
func TestBleichenbacher2006_ExponentThree(t *testing.T) {
	public := &rsa.PublicKey{N: new(big.Int).Set(padtest.Key(t, "rsa3072").Public().(*rsa.PublicKey).N), E: 3}
	size := public.Size()
	target := new(big.Int).SetBytes(padded(size, 8, digestInfo(t, []byte{5, 0}), nil))
	root := cubeRoot(target)
	cube := new(big.Int).Exp(root, big.NewInt(3), nil)
	if prefix := padded(size, 8, digestInfo(t, []byte{5, 0}), nil)[:60]; !bytes.HasPrefix(cube.FillBytes(make([]byte, size)), prefix) {
		t.Fatal("the forgery does not begin as it should: the test proves nothing")
	}
	forged := root.FillBytes(make([]byte, size))
	expect(t, pinned(t, public), signed(t, ikewire.AuthDigitalSig, pkcs1(), forged), pad.KeyNotPinned)
	expect(t, pinned(t, public), signed(t, ikewire.AuthRSA, nil, forged), pad.KeyNotPinned)
}

// cubeRoot returns the least number whose cube is not below n.
func cubeRoot(n *big.Int) *big.Int {
	low, high := new(big.Int), new(big.Int).Lsh(big.NewInt(1), uint(n.BitLen()/3+1))
	for low.Cmp(high) < 0 {
		middle := new(big.Int).Rsh(new(big.Int).Add(low, high), 1)
		if new(big.Int).Exp(middle, big.NewInt(3), nil).Cmp(n) < 0 {
			low = middle.Add(middle, big.NewInt(1))
		} else {
			high = middle
		}
	}
	return low
}

// TestCVE_2012_2388_EmptyRSASignature and CVE-2017-11185, CVE-2018-17540: signatures of zero, of the modulus, and
// of other lengths were accepted or crashed the gmp plugin.
func TestCVE_2012_2388_EmptyRSASignature(t *testing.T) {
	key := padtest.Key(t, "rsa2048").(*rsa.PrivateKey)
	d := pinned(t, key.Public())
	zero := make([]byte, key.Size())
	one := append(zero[:len(zero)-1:len(zero)-1], 1)
	for name, value := range map[string][]byte{
		"zero": zero, "one": one, "the modulus": key.N.FillBytes(make([]byte, key.Size())), "one byte": {0}, "short": zero[1:],
		"long": append(zero, 0), "all ones": bytes.Repeat([]byte{0xff}, key.Size()),
	} {
		for _, a := range []ikewire.SignatureAlgorithm{ikewire.SignRSAPKCS1SHA256, ikewire.SignRSAPSSSHA256} {
			expect(t, d, signed(t, ikewire.AuthDigitalSig, a.AlgorithmIdentifier(), value), pad.KeyNotPinned)
		}
		v := d.Verify(t.Context(), signed(t, ikewire.AuthRSA, nil, value))
		if v.Authorised() {
			t.Errorf("%s is a signature", name)
		}
	}
	expect(t, d, signed(t, ikewire.AuthRSA, nil, nil), pad.BadSignature)
}

// TestCVE_2013_2944_ZeroECDSASignature: the openssl plugin took errors of the verification, and so empty and zero
// signatures, for success.
func TestCVE_2013_2944_ZeroECDSASignature(t *testing.T) {
	for kind, method := range map[string]ikewire.AuthMethod{"p256": ikewire.AuthECDSAP256, "p384": ikewire.AuthECDSAP384, "p521": ikewire.AuthECDSAP521} {
		d := pinned(t, padtest.Key(t, kind).Public())
		n := map[string]int{"p256": 32, "p384": 48, "p521": 66}[kind]
		for _, value := range [][]byte{make([]byte, 2*n), make([]byte, 2*n-1), make([]byte, 2*n+1), {0}, bytes.Repeat([]byte{0xff}, 2*n),
			append(make([]byte, 2*n-1), 1)} {
			expect(t, d, signed(t, method, nil, value), pad.KeyNotPinned)
		}
		for _, value := range [][]byte{{0x30, 0}, {0x30, 6, 2, 1, 0, 2, 1, 0}, {0x30, 6, 2, 1, 1, 2, 1, 0}, {0x30, 6, 2, 1, 0xff, 2, 1, 0xff}, {0}} {
			expect(t, d, signed(t, ikewire.AuthDigitalSig, ikewire.SignECDSASHA256.AlgorithmIdentifier(), value), pad.KeyNotPinned)
		}
	}
}

// TestCVE_2017_9022_RSAExponentZero: public keys with exponent zero or an even modulus crashed the gmp plugin.
func TestCVE_2017_9022_RSAExponentZero(t *testing.T) {
	n := padtest.Key(t, "rsa2048").Public().(*rsa.PublicKey).N
	even := new(big.Int).Sub(n, big.NewInt(1))
	for name, key := range map[string]*rsa.PublicKey{
		"exponent 0": {N: n, E: 0}, "exponent 1": {N: n, E: 1}, "exponent 2": {N: n, E: 2}, "exponent -3": {N: n, E: -3},
		"even modulus": {N: even, E: 3}, "modulus 0": {N: new(big.Int), E: 3}, "modulus 1": {N: big.NewInt(1), E: 3},
		"huge": {N: new(big.Int).SetBit(new(big.Int).Lsh(big.NewInt(1), 16384), 0, 1), E: 3},
	} {
		if err := pad.CheckKey(key); err == nil {
			t.Errorf("a key with %s is used", name)
		}
	}
}

// TestCVE_2021_41990_PSSSaltLength and CVE-2018-6459: salt lengths that overflow, and parameters that are missing.
func TestCVE_2021_41990_PSSSaltLength(t *testing.T) {
	d := pinned(t, padtest.Key(t, "rsa2048").Public())
	der := ikewire.SignRSAPSSSHA256.AlgorithmIdentifier()
	salt := bytes.LastIndex(der, []byte{2, 1, 32})
	with := func(integer ...byte) []byte {
		end := append([]byte{0xa2, uint8(len(integer))}, integer...)
		body := append(bytes.Clone(der[:salt-2]), end...)
		grown := len(body) - len(der)
		body[1] += uint8(grown)                                             // outer SEQUENCE
		body[bytes.Index(body, []byte{0x30, 0x34, 0xa0})+1] += uint8(grown) // parameters
		return body
	}
	if !bytes.Equal(with(2, 1, 32), der) {
		t.Fatal("the algorithm is not built as it is")
	}
	for name, algorithm := range map[string][]byte{
		"2^31-1": with(2, 4, 0x7f, 0xff, 0xff, 0xff), "2^64-1": with(2, 9, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"-1": with(2, 1, 0xff), "0": with(2, 1, 0), "31": with(2, 1, 31),
		"no parameters":    {0x30, 0x0b, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10},
		"empty parameters": {0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10, 0x30, 0},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, d, signed(t, ikewire.AuthDigitalSig, algorithm, make([]byte, 256)), pad.BadAlgorithm)
		})
	}
}

// TestCVE_2021_41990_PSSSaltLengthOfACertificate: the CA's signature with another salt length than it has.
func TestCVE_2021_41990_PSSSaltLengthOfACertificate(t *testing.T) {
	root := padtest.NewCA(t, "root")
	ca := root.IssueFor(t, "ca", padtest.Key(t, "rsa2048"), func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign })
	d := database(t, pad.Config{Authorities: []pad.Authority{authority("ca", ca)}, Entries: []pad.Entry{entry(t, "peer", remoteID, byCA("ca"))}})
	leaf := ca.Issue(t, "p", "p256", named, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA256WithRSAPSS })
	claim := peer{remoteID, []pad.Credential{signer(leaf)}}.claim(t)
	expect(t, d, claim, 0)
	salt := []byte{0xa2, 3, 2, 1, 32}
	if bytes.Count(leaf.Raw, salt) != 2 {
		t.Fatal("the salt length is not where it should be")
	}
	for _, n := range []byte{0, 20, 33, 0x7f, 0xff} {
		claim.Certs[0].Data = bytes.ReplaceAll(leaf.Raw, salt, []byte{0xa2, 3, 2, 1, n})
		expect(t, d, claim, pad.UntrustedCertificate)
	}
}

// TestAlgorithmConfusion: a valid signature under another algorithm's name, or another method's.
func TestAlgorithmConfusion(t *testing.T) {
	keys := map[string]crypto.Signer{}
	for _, kind := range []string{"rsa2048", "p256", "p384", "ed25519"} {
		keys[kind] = padtest.Key(t, kind)
	}
	for kind, key := range keys {
		claim := peer{remoteID, []pad.Credential{{Signer: key}}}.claim(t)
		der, value, err := claim.AUTH.DigitalSignature()
		if err != nil {
			t.Fatal(err)
		}
		own, err := ikewire.ParseSignatureAlgorithm(der)
		if err != nil {
			t.Fatal(err)
		}
		d := pinned(t, key.Public())
		expect(t, d, claim, 0)
		for a := ikewire.SignRSAPKCS1SHA256; a <= ikewire.SignEd448; a++ {
			if a != own {
				expect(t, d, signed(t, ikewire.AuthDigitalSig, a.AlgorithmIdentifier(), value), pad.KeyNotPinned)
			}
		}
		for _, m := range []ikewire.AuthMethod{ikewire.AuthRSA, ikewire.AuthECDSAP256, ikewire.AuthECDSAP384, ikewire.AuthECDSAP521} {
			expect(t, d, signed(t, m, nil, value), pad.KeyNotPinned)
		}
		for other, k := range keys {
			if other != kind {
				expect(t, pinned(t, k.Public()), claim, pad.KeyNotPinned)
			}
		}
		for _, tail := range [][]byte{{0}, {5, 0}, der} { // behind the AlgorithmIdentifier
			expect(t, d, signed(t, ikewire.AuthDigitalSig, append(bytes.Clone(der), tail...), value), pad.BadAlgorithm)
		}
	}
}
