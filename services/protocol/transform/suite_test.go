package transform

import (
	"errors"
	"testing"
)

func TestParseSuite(t *testing.T) {
	for _, tt := range []struct {
		name            string
		id, bits, integ uint16
		keymat, icv     int
	}{
		{"aes128gcm16", 20, 128, 0, 20, 16},
		{"aes256gcm8", 18, 256, 0, 36, 8},
		{"aes128ccm16", 16, 128, 0, 19, 16},
		{"aes128gmac", 21, 128, 0, 20, 16},
		{"chacha20poly1305", 28, 0, 0, 36, 16},
		{"aes128-sha256", 12, 128, 12, 48, 16},
		{"aes256ctr-sha384", 13, 256, 13, 36 + 48, 24},
		{"null-sha256", 11, 0, 12, 32, 16},
		{"aes192-aesxcbc", 12, 192, 5, 40, 12},
		{"aes256-blake2s128", 12, 256, 1717, 64, 16},
	} {
		s, err := ParseSuite(tt.name)
		if err != nil {
			t.Error(err)
			continue
		}
		if s.Encryption.ID != tt.id || s.Encryption.KeyBits != tt.bits || s.Integrity.ID != tt.integ ||
			s.KeymatLen() != tt.keymat || s.ICVLen() != tt.icv || s.String() != tt.name {
			t.Errorf("%s: %+v", tt.name, s)
		}
	}
}

func TestParseSuiteErrors(t *testing.T) {
	for name, want := range map[string]error{
		"":                    ErrUnknown,
		"-":                   ErrUnknown,
		"aes128-":             ErrUnknown,
		"aes128-none":         ErrUnknown,
		"-sha256":             ErrUnknown,
		"aes128-sha256-":      ErrUnknown,
		"aes128-sha256-sha1":  ErrUnknown,
		"aes128gcm16-none":    ErrUnknown,
		"sha256-aes128":       ErrUnknown,
		"aes128":              ErrNoIntegrity,
		"aes256ctr":           ErrNoIntegrity,
		"null":                ErrNoIntegrity,
		"aes128gcm16-sha256":  ErrTwoIntegrities,
		"aes128gmac-sha256":   ErrTwoIntegrities,
		"des-sha256":          ErrForbidden,
		"aes128-md5":          ErrForbidden,
		"null-md5":            ErrForbidden,
		"blowfish128-sha512":  ErrForbidden,
		"aes128-blake2s-128 ": ErrUnknown,
	} {
		for _, parse := range []func(string) (Suite, error){ParseSuite, ParseInsecureSuite} {
			if s, err := parse(name); !errors.Is(err, want) || s != (Suite{}) {
				t.Errorf("%q: %v, %v, want %v", name, s, err, want)
			}
		}
	}
	if _, err := ParseInsecureSuite("3des"); !errors.Is(err, ErrNoIntegrity) {
		t.Errorf("3des: %v", err)
	}
}

// Every suite is read back from its name; there is no cipher without integrity among them.
func TestSuites(t *testing.T) {
	for _, s := range Suites() {
		if got, err := ParseSuite(s.String()); err != nil || got != s {
			t.Errorf("%v: %v, %v", s, got, err)
		}
		if s.ICVLen() < 8 {
			t.Errorf("%v: an ICV of %d bytes", s, s.ICVLen())
		}
	}
	for _, s := range InsecureSuites() {
		if _, err := ParseSuite(s.String()); !errors.Is(err, ErrInsecure) {
			t.Errorf("%v: ParseSuite: %v", s, err)
		}
		if got, err := ParseInsecureSuite(s.String()); err != nil || got != s {
			t.Errorf("%v: %v, %v", s, got, err)
		}
	}
	if secure, insecure := len(Suites()), len(InsecureSuites()); secure != 22+7*7 || insecure != 7 {
		t.Errorf("%d suites and %d insecure ones", secure, insecure)
	}
}

// A row that somebody has changed is no row of the table.
func TestCheckChangedRows(t *testing.T) {
	good, err := ParseSuite("aes128-sha256")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Suite){
		"shorter ICV":   func(s *Suite) { s.Integrity.ICVLen = 1 },
		"no key":        func(s *Suite) { s.Integrity.KeyLen = 0 },
		"an ICV of its": func(s *Suite) { s.Encryption.ICVLen, s.Integrity = 4, Integrity{} },
		"other IV":      func(s *Suite) { s.Encryption.IVLen = 0 },
		"other ID":      func(s *Suite) { s.Integrity.ID = 13 },
		"NONE, named":   func(s *Suite) { s.Integrity = Integrity{Name: "none"} },
		"empty":         func(s *Suite) { *s = Suite{} },
	} {
		s := good
		change(&s)
		if err := s.Check(); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
