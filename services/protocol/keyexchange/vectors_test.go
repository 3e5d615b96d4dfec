package keyexchange

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keyOf makes a key of known private bytes, in the family's own form.
func keyOf(t testing.TB, m Method, private []byte) *Private {
	t.Helper()
	p, err := m.Unmarshal(append(binary.BigEndian.AppendUint16(nil, m.ID), private...))
	if err != nil {
		t.Fatalf("%v: %v", m, err)
	}
	return p
}

// testdata/agreements.txt names its sources.
func TestAgreementVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/agreements.txt")
	if err != nil {
		t.Fatal(err)
	}
	var run []string
	for line := range strings.Lines(string(text)) {
		if line[0] == '#' {
			continue
		}
		row := strings.Fields(line)
		m, err := ByName(row[0])
		if err != nil {
			t.Fatal(err)
		}
		run = append(run, m.Name)
		var column [5][]byte
		for i := range column {
			column[i] = unhex(t, row[i+1])
		}
		for _, end := range [][3][]byte{{column[0], column[1], column[3]}, {column[2], column[3], column[1]}} {
			p := keyOf(t, m, end[0])
			if got := p.Public(); !bytes.Equal(got, end[1]) {
				t.Errorf("%v: public value %x, want %x", m, got, end[1])
			}
			if got, err := p.Finish(end[2]); err != nil || !bytes.Equal(got, column[4]) {
				t.Errorf("%v: secret %x, %v, want %x", m, got, err, column[4])
			}
		}
	}
	if want := "x25519 ecp256 ecp384 ecp521 modp2048 modp3072 modp4096 modp6144 modp8192"; strings.Join(run, " ") != want {
		t.Errorf("run: %v", run)
	}
}

// π by Machin's formula, 16 atan(1/5) - 4 atan(1/239), in units of 2^-bits; 64 bits more keep the last ones right.
func piBy(bits uint) *big.Int {
	const guard = 64
	unit := new(big.Int).Lsh(big.NewInt(1), bits+guard)
	atan := func(inverse int64) *big.Int {
		sum, square := new(big.Int), big.NewInt(inverse*inverse)
		power := new(big.Int).Div(unit, big.NewInt(inverse))
		for n := int64(1); power.Sign() > 0; n += 2 {
			term := new(big.Int).Div(power, big.NewInt(n))
			if n%4 == 3 {
				term.Neg(term)
			}
			sum.Add(sum, term)
			power.Div(power, square)
		}
		return sum
	}
	pi := new(big.Int).Mul(big.NewInt(16), atan(5))
	pi.Sub(pi, new(big.Int).Mul(big.NewInt(4), atan(239)))
	return pi.Rsh(pi, guard)
}

func modpMethods() []Method {
	return slices.DeleteFunc(Methods(), func(m Method) bool { return !strings.HasPrefix(m.Name, "modp") })
}

// RFC 3526: each prime is by its formula a safe one, 2 generates the half of the group without its element of
// order 2, and a private exponent has twice the bits of the greater estimate of section 8.
func TestPrimes(t *testing.T) {
	digits, ok := new(big.Int).SetString(piDigits, 16)
	if !ok || digits.Cmp(piBy(piBits)) != 0 {
		t.Error("that is not π")
	}
	strength := map[uint16]int{MODP2048: 160, MODP3072: 210, MODP4096: 240, MODP6144: 270, MODP8192: 310}
	one := big.NewInt(1)
	for _, m := range modpMethods() {
		g := modpOf(m.ID)
		p := g.prime()
		q := new(big.Int).Rsh(p, 1)
		if p.BitLen() != m.InitiatorLen*8 || g.length() != m.InitiatorLen || !p.ProbablyPrime(0) || !q.ProbablyPrime(0) {
			t.Errorf("%v is no safe prime", m)
		}
		if big.Jacobi(big.NewInt(2), p) != 1 || new(big.Int).And(p, big.NewInt(7)).Int64() != 7 {
			t.Errorf("%v: 2 is no square", m)
		}
		if new(big.Int).Exp(big.NewInt(2), q, p).Cmp(one) != 0 {
			t.Errorf("%v: 2 has another order", m)
		}
		if bits := g.exponent * 8; bits < 2*strength[m.ID] || bits >= 2*strength[m.ID]+8 {
			t.Errorf("%v: exponents of %d bits", m, bits)
		}
	}
}

// RFC 6989 section 2.1: 0, 1, p-1, p and more are refused; 2 and p-2 are the least and the greatest that are not.
func TestMODPBounds(t *testing.T) {
	for _, m := range modpMethods() {
		p, prime := initiate(t, m), modpOf(m.ID).prime()
		value := func(of *big.Int, add int64) []byte {
			return new(big.Int).Add(of, big.NewInt(add)).FillBytes(make([]byte, m.InitiatorLen))
		}
		zero := new(big.Int)
		for _, bad := range [][]byte{value(zero, 0), value(zero, 1), value(prime, -1), value(prime, 0), value(prime, 1),
			bytes.Repeat([]byte{0xff}, m.InitiatorLen)} {
			if secret, err := p.Finish(bad); !errors.Is(err, ErrPublic) || secret != nil {
				t.Errorf("%v: %x: %v", m, bad[len(bad)-4:], err)
			}
		}
		for _, good := range [][]byte{value(zero, 2), value(prime, -2)} {
			secret, err := p.Finish(good)
			if err != nil || len(secret) != m.InitiatorLen {
				t.Errorf("%v: %x: %v", m, good[len(good)-4:], err)
			}
		}
	}
}

// A secret with zeros in front is as long as the prime all the same (RFC 7296 section 2.14): the peer's value is
// the x-th root of 4.
func TestMODPSecretIsPadded(t *testing.T) {
	m, err := ByID(MODP2048)
	if err != nil {
		t.Fatal(err)
	}
	g := modpOf(m.ID)
	prime := g.prime()
	q := new(big.Int).Rsh(prime, 1)
	x := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 100), big.NewInt(1))
	y := new(big.Int).Exp(big.NewInt(4), new(big.Int).ModInverse(x, q), prime)
	secret, err := keyOf(t, m, x.FillBytes(make([]byte, g.exponent))).Finish(y.FillBytes(make([]byte, 256)))
	if err != nil || len(secret) != 256 || new(big.Int).SetBytes(secret).Int64() != 4 {
		t.Errorf("secret %x, %v, want 4 with zeros in front", secret, err)
	}
}

// Points that are not on the curve, coordinates out of range and the identity, however one may write it.
func TestBadPoints(t *testing.T) {
	for _, name := range []string{"ecp256", "ecp384", "ecp521"} {
		m, err := ByName(name)
		if err != nil {
			t.Fatal(err)
		}
		p, n := initiate(t, m), m.InitiatorLen/2
		good := initiate(t, m).Public()
		bad := map[string][]byte{
			"zeros":           make([]byte, 2*n),
			"ones":            bytes.Repeat([]byte{0xff}, 2*n),
			"x twice":         append(bytes.Clone(good[:n]), good[:n]...),
			"y before x":      append(bytes.Clone(good[n:]), good[:n]...),
			"another y":       flip(good, 2*n-1),
			"another x":       flip(good, n-1),
			"x of 0":          append(make([]byte, n), good[n:]...),
			"y of 0":          append(bytes.Clone(good[:n]), make([]byte, n)...),
			"first byte gone": flip(good, 0),
		}
		for what, value := range bad {
			if secret, err := p.Finish(value); !errors.Is(err, ErrPublic) || secret != nil {
				t.Errorf("%v, %s: %v", m, what, err)
			}
			if _, _, err := m.Respond(zeroReader{}, value); err == nil {
				t.Errorf("%v, %s is answered", m, what)
			}
		}
		if _, err := p.Finish(good); err != nil {
			t.Errorf("%v: %v", m, err)
		}
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}
