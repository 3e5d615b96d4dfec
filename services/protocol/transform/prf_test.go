package transform

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// RFC 4868 sections 2.1.2 and 2.4, RFC 4434, RFC 4615; RFC 8247 section 2.2.
func TestPRFs(t *testing.T) {
	for i, want := range []struct {
		PRF
		status string
	}{
		{PRF{"prfsha256", 5, 32, 32, false, 4868, 0}, "MUST"},
		{PRF{"prfsha512", 7, 64, 64, false, 4868, 0}, "SHOULD"},
		{PRF{"prfsha384", 6, 48, 48, false, 4868, 0}, "MAY"},
		{PRF{"prfaescmac", 8, 16, 16, true, 4615, 0}, "MAY"},
		{PRF{"prfaesxcbc", 4, 16, 16, true, 4434, 0}, "SHOULD"},
	} {
		p, err := PRFByName(want.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		if byID, err := PRFByID(want.ID); err != nil || byID != p || PRFs()[i] != p || p.Check() != nil {
			t.Errorf("PRFByID(%d) = %v, %v", want.ID, byID, err)
		}
		if p.Status.String() != want.status || p.String() != want.Name {
			t.Errorf("%v is %v", p, p.Status)
		}
		if p.Status = 0; p != want.PRF {
			t.Errorf("%+v, want %+v", p, want.PRF)
		}
		if n := len(p.Sum(nil, nil)); n != p.OutputLen {
			t.Errorf("%v: %d bytes", p, n)
		}
		if p.Check() == nil {
			t.Errorf("%v with another status is of the table", p)
		}
	}
	if n := len(PRFs()); n != 5 {
		t.Errorf("the table has %d rows; this test knows 5", n)
	}
	PRFs()[0].Name = "changed"
	if _, err := PRFByName("changed"); err == nil {
		t.Error("a caller can change the table")
	}
}

// HMAC-MD5 is forbidden, HMAC-SHA1 left out; there are no integrity algorithms or ciphers among the names.
func TestPRFErrors(t *testing.T) {
	for name, want := range map[string]error{
		"prfmd5": ErrForbidden, "prfsha1": ErrUnknown, "": ErrUnknown, "sha256": ErrUnknown, "md5": ErrUnknown, "PRFSHA256": ErrUnknown,
	} {
		p, err := PRFByName(name)
		if !errors.Is(err, want) || p != (PRF{}) {
			t.Errorf("%q: %v, %v", name, p, err)
		}
		if want == ErrUnknown && !strings.Contains(err.Error(), "prfsha384") {
			t.Errorf("%q: %v does not say what there is", name, err)
		}
		if want == ErrForbidden && !strings.Contains(err.Error(), `RFC 8247 says MUST NOT: PRF "prfmd5"`) {
			t.Errorf("%q: %v does not say who forbids it", name, err)
		}
	}
	for id, want := range map[uint16]error{0: ErrUnknown, 1: ErrForbidden, 2: ErrUnknown, 3: ErrUnknown, 9: ErrUnknown, PrivateUse: ErrUnknown} {
		if p, err := PRFByID(id); !errors.Is(err, want) || p != (PRF{}) {
			t.Errorf("%d: %v, %v", id, p, err)
		}
	}
	if err := (PRF{}).Check(); !errors.Is(err, ErrUnknown) {
		t.Errorf("no PRF: %v", err)
	}
	for name, call := range map[string]func(){
		"Sum":  func() { PRF{}.Sum(nil, nil) },
		"Plus": func() { PRF{}.Plus(nil, 0, nil) },
	} {
		if !panics(call) {
			t.Errorf("%s of no PRF gives something", name)
		}
	}
}

func panics(call func()) (yes bool) {
	defer func() { yes = recover() != nil }()
	call()
	return false
}

// The PRFs are whole what the integrity algorithms are cut from; those that take keys of any length have
// vectors of their own.
func TestPRFVectors(t *testing.T) {
	rows, run := readVectors(t, "prfs.txt", 4, 6), map[string]int{}
	for _, row := range readVectors(t, "macs.txt", 4, 59) {
		row[0] = "prf" + row[0]
		rows = append(rows, row)
	}
	for _, row := range rows {
		p, err := PRFByName(row[0])
		if err != nil {
			continue
		}
		run[row[0]]++
		key, message, want := hexColumn(t, row[1]), hexColumn(t, row[2]), hexColumn(t, row[3])
		for cut := range len(message) + 1 {
			got := p.Sum([]byte("before"), key, message[:cut], nil, message[cut:])
			if !bytes.HasPrefix(got, slices.Concat([]byte("before"), want)) {
				t.Errorf("%s %x, cut at %d: %x, want %x", row[0], message, cut, got, want)
			}
		}
	}
	if run["prfaesxcbc"] != 15 || run["prfaescmac"] != 11 || run["prfsha256"] != 15 || run["prfsha384"] != 15 || run["prfsha512"] != 15 {
		t.Errorf("run: %v", run)
	}
}

// RFC 7296 section 2.13: T1 = prf(K, S | 1), Tn = prf(K, Tn-1 | S | n); each length is a prefix of the longest.
func TestPRFPlus(t *testing.T) {
	for _, p := range PRFs() {
		key, seed := []byte("the key"), []byte("the seed")
		var want, block []byte
		for n := 1; n <= 255; n++ {
			block = p.Sum(nil, key, block, seed, []byte{byte(n)})
			want = append(want, block...)
		}
		for _, n := range []int{0, 1, p.OutputLen - 1, p.OutputLen, p.OutputLen + 1, 3 * p.OutputLen, len(want) - 1, len(want)} {
			got, err := p.Plus([]byte("before"), n, key, seed[:3], seed[3:])
			if err != nil || !bytes.Equal(got, slices.Concat([]byte("before"), want[:n])) {
				t.Errorf("%v, %d bytes: %x, %v", p, n, got, err)
			}
		}
		for _, n := range []int{-1, len(want) + 1, 1 << 40} {
			if got, err := p.Plus([]byte("before"), n, key, seed); !errors.Is(err, ErrOutputLength) || string(got) != "before" {
				t.Errorf("%v, %d bytes: %x, %v", p, n, got, err)
			}
		}
	}
}

// What a peer sends decides how long a message is, and never how often memory is taken for it.
func TestPRFAllocations(t *testing.T) {
	dst, long := make([]byte, 0, 1<<15), make([]byte, 1<<15)
	for _, p := range PRFs() {
		count := func(n int, key []byte, part []byte) float64 {
			return testing.AllocsPerRun(20, func() {
				p.Sum(dst, key, part)
				if _, err := p.Plus(dst, n, key, part, part); err != nil {
					t.Fatal(err)
				}
			})
		}
		few, many := count(p.OutputLen, long[:p.KeyLen], long[:1]), count(100*p.OutputLen, long[:p.KeyLen], long)
		if few != many {
			t.Errorf("%v: %v allocations for little, %v for much", p, few, many)
		}
	}
}
