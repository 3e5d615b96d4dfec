package dn

import (
	"bytes"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func pattern(t testing.TB, s string) Pattern {
	t.Helper()
	p, err := ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestText(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"CN=gw", "CN=gw"},
		{"C=CH, O=strongSwan,  CN=gw", "C=CH,O=strongSwan,CN=gw"},
		{"cn=gw,dc=example,dc=net", "CN=gw,DC=example,DC=net"},
		{`CN=Lu\C4\8Di\C4\87`, "CN=Lučić"},                               // RFC 4514 section 4
		{`CN=James \"Jim\" Smith\, III`, `CN=James \"Jim\" Smith\, III`}, // the same
		{`OU=Sales+CN=J. Smith,DC=example`, `OU=Sales+CN=J. Smith,DC=example`},
		{`CN=\ a\ `, `CN=\ a\ `},
		{`CN= a `, `CN=a`},
		{`CN=\2A`, `CN=\2A`},
		{`CN=\*`, `CN=\2A`},
		{`CN=*,O=x`, `CN=*,O=x`},
		{"1.3.6.1.4.1.1466.0=#04024869", "1.3.6.1.4.1.1466.0=#04024869"}, // RFC 4514 section 4
		{"CN=#0c026777", "CN=gw"},                                        // a string is a string
		{"2.5.4.3=gw", "CN=gw"},
	} {
		p, err := ParsePattern(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		got := p.String()
		if strings.Contains(c.in, "Sales") {
			got = pattern(t, got).String() // the order inside an RDN is ours
			c.want = pattern(t, c.want).String()
		}
		if got != c.want {
			t.Errorf("%s gives %s, want %s", c.in, got, c.want)
		}
		if again := pattern(t, got); again.String() != got {
			t.Errorf("%s is read again as %s", got, again)
		}
	}
}

func TestTextRefused(t *testing.T) {
	for _, s := range []string{
		"", "gw", "CN=", "CN=a,", ",CN=a", "=a", "XX=a", "CN=a*", "CN=*a", "CN=a;O=b", `CN=a"b`, `CN=a\`, `CN=a\q`,
		"CN=#", "CN=#zz", "CN=#0c0267", "CN=#0c02677700", "CN=a+CN=b", "CN=*+CN=b", "9.9.9=a", "2.5..4=a",
		"2.5.4.99999999999999999999=a", `CN=a\00b`, "CN=a\x00b", "CN=a\nb", "CN=\xff", "CN=\u202egw",
		strings.Repeat("CN=a,", maxRDNs) + "CN=a", "CN=" + strings.Repeat("a", maxBytes),
	} {
		if p, err := ParsePattern(s); !errors.Is(err, ErrName) {
			t.Errorf("%.40q is read as %s, %v", s, p, err)
		}
	}
	if _, err := Parse("CN=*"); !errors.Is(err, ErrName) {
		t.Errorf("a wildcard is a name: %v", err)
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"CN=gw,O=x,C=CH", "CN=gw,O=x,C=CH", true},
		{"CN=*,O=x,C=CH", "CN=gw,O=x,C=CH", true},
		{"CN=*,O=x,C=CH", "CN=gw,O=y,C=CH", false},
		{"CN=*,O=x,C=CH", "O=x,C=CH", false},            // an RDN is never absent
		{"CN=*,O=x,C=CH", "CN=gw,OU=a,O=x,C=CH", false}, // nor added
		{"CN=*,O=x,C=CH", "OU=gw,O=x,C=CH", false},
		{"CN=gw,O=x", "O=x,CN=gw", false}, // the order counts
		{"CN=gw", "CN=GW", false},
		{"CN=gw", "CN=gw+OU=a", false},
		{"CN=gw+OU=*", "OU=a+CN=gw", true},
		{`CN=\2A`, "CN=gw", false},
		{`CN=\2A`, `CN=\*`, true},
		{"CN=gw", "CN=g w", false},
		{"CN=*", `CN=a\,O=x`, true}, // a comma inside the value is no separator
	} {
		n, err := Parse(c.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := pattern(t, c.pattern).Match(n); got != c.want {
			t.Errorf("%s matches %s: %v", c.pattern, c.name, got)
		}
	}
	if (Pattern{}).Match(nil) || (Pattern{}).Match(Name{}) {
		t.Error("nothing is matched by nothing")
	}
}

func TestCoversAndOverlaps(t *testing.T) {
	for _, c := range []struct {
		a, b                            string
		aCovers, bCovers, doTheyOverlap bool
	}{
		{"CN=*,O=x", "CN=gw,O=x", true, false, true},
		{"CN=*,O=x", "CN=gw,O=*", false, false, true},
		{"CN=*,O=x", "CN=*,O=x", true, true, true},
		{"CN=*,O=x", "CN=*,O=y", false, false, false},
		{"CN=*", "CN=*,O=x", false, false, false},
	} {
		a, b := pattern(t, c.a), pattern(t, c.b)
		if a.Covers(b) != c.aCovers || b.Covers(a) != c.bCovers || a.Overlaps(b) != c.doTheyOverlap || b.Overlaps(a) != c.doTheyOverlap {
			t.Errorf("%s and %s: %v %v %v %v", a, b, a.Covers(b), b.Covers(a), a.Overlaps(b), b.Overlaps(a))
		}
	}
}

// Two encodings of CN=gw, and what must not count as it.
const (
	printableGW = "300d310b300906035504031302" + "6777"
	utf8GW      = "300d310b30090603550403" + "0c026777"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDER(t *testing.T) {
	if !EqualDER(unhex(t, printableGW), unhex(t, utf8GW)) {
		t.Error("PrintableString and UTF8String of one text differ")
	}
	if EqualDER(nil, nil) || EqualDER(unhex(t, printableGW), nil) || EqualDER(unhex(t, "3000"), unhex(t, "3000")) {
		t.Error("what is no name equals another")
	}
	whole := unhex(t, printableGW)
	for n := range whole {
		if _, err := ParseDER(whole[:n]); !errors.Is(err, ErrName) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for name, der := range map[string]string{
		"trailing byte":     printableGW + "00",
		"NUL in the value":  "300d310b300906035504031302" + "6700",
		"empty value":       "300b3109300706035504031300",
		"empty SET":         "30023100",
		"SEQUENCE for SET":  "300d300b300906035504031302" + "6777",
		"value missing":     "3009310730050603550403",
		"two values":        "3011310f300d0603550403130267771302" + "6777",
		"one type twice":    "3018311630090603550403130267773009060355040313026767",
		"half a BMP char":   "300e310c300a06035504031e03006700",
		"bytes above ASCII": "300d310b30090603550403130267ff",
		"a # of its own":    "300d310b30090603550403130223" + "30",
	} {
		if n, err := ParseDER(unhex(t, der)); !errors.Is(err, ErrName) {
			t.Errorf("%s is read as %s, %v", name, n, err)
		}
	}
	long := append([]byte{0x30, 0x82, 0x20, 0x00}, bytes.Repeat([]byte{0}, 0x2000)...)
	if _, err := ParseDER(long); !errors.Is(err, ErrName) {
		t.Errorf("a long name: %v", err)
	}
}

// TestDERAgainstOpenSSL: openssl's DER of a subject means what our text says, and our DER is openssl's.
func TestDERAgainstOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	out := filepath.Join(t.TempDir(), "req.pem")
	cmd := exec.Command(openssl, "req", "-new", "-newkey", "ed25519", "-nodes", "-keyout", "/dev/null", "-out", out, "-utf8",
		"-multivalue-rdn", "-subj", "/DC=net/DC=example/C=CH/O=Ex, ample/OU=ü+serialNumber=7/CN=gw/emailAddress=a@b.example")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	raw, err := exec.Command(openssl, "req", "-in", out, "-outform", "DER").Output()
	if err != nil {
		t.Fatal(err)
	}
	want, err := Parse(`emailAddress=a@b.example,CN=gw,OU=ü+serialNumber=7,O=Ex\, ample,C=CH,DC=example,DC=net`)
	if err != nil {
		t.Fatal(err)
	}
	der, err := want.DER()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(raw, der) {
		t.Errorf("openssl's request\n%s holds no %x", pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: raw}), der)
	}
	if got, err := ParseDER(der); err != nil || !got.Equal(want) {
		t.Errorf("got %s, %v", got, err)
	}
}

func FuzzDER(f *testing.F) {
	f.Add(unhex(f, printableGW))
	f.Add(unhex(f, utf8GW))
	f.Fuzz(func(t *testing.T, der []byte) {
		n, err := ParseDER(der)
		if err != nil {
			if !errors.Is(err, ErrName) {
				t.Fatal(err)
			}
			return
		}
		again, err := Parse(n.String())
		if err != nil || !again.Equal(n) {
			t.Fatalf("%x is %q, read again as %v, %v", der, n, again, err)
		}
		out, err := n.DER()
		if err != nil || !EqualDER(out, der) {
			t.Fatalf("%x gives %x, %v", der, out, err)
		}
	})
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"CN=gw,O=*", `CN=\2A\ +OU=#0c0161`, "2.5.4.3=a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		again, err := ParsePattern(p.String())
		if err != nil || !again.Covers(p) || !p.Covers(again) {
			t.Fatalf("%q is %q, read again as %q, %v", s, p, again, err)
		}
	})
}
