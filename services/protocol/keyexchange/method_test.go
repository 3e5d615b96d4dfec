package keyexchange

import (
	"errors"
	"strings"
	"testing"
)

// IANA's numbers, strongSwan's names; RFC 8031 section 2, RFC 5903 section 7, RFC 3526, FIPS 203 table 3; RFC
// 8247 section 2.4.
func TestMethods(t *testing.T) {
	for i, want := range []struct {
		name       string
		id         uint16
		initiator  int
		responder  int
		kem        bool
		status     string
		alsoCalled string
	}{
		{"x25519", 31, 32, 32, false, "MAY", "curve25519"},
		{"ecp256", 19, 64, 64, false, "SHOULD", ""},
		{"ecp384", 20, 96, 96, false, "MAY", ""},
		{"ecp521", 21, 132, 132, false, "MAY", ""},
		{"mlkem768", 36, 1184, 1088, true, "MAY", ""},
		{"mlkem1024", 37, 1568, 1568, true, "MAY", ""},
		{"modp3072", 15, 384, 384, false, "MAY", ""},
		{"modp4096", 16, 512, 512, false, "MAY", ""},
		{"modp2048", 14, 256, 256, false, "MUST", ""},
		{"modp6144", 17, 768, 768, false, "MAY", ""},
		{"modp8192", 18, 1024, 1024, false, "MAY", ""},
	} {
		m, err := ByName(want.name)
		if err != nil {
			t.Error(err)
			continue
		}
		if byID, err := ByID(want.id); err != nil || byID != m || Methods()[i] != m {
			t.Errorf("ByID(%d) = %v, %v", want.id, byID, err)
		}
		if m.InitiatorLen != want.initiator || m.ResponderLen != want.responder || m.KEM != want.kem ||
			m.Status.String() != want.status || m.String() != want.name {
			t.Errorf("%+v", m)
		}
		if want.alsoCalled == "" {
			continue
		}
		if other, err := ByName(want.alsoCalled); err != nil || other != m {
			t.Errorf("%s is %v, %v", want.alsoCalled, other, err)
		}
	}
	if n := len(Methods()); n != 11 {
		t.Errorf("the table has %d rows; this test knows 11", n)
	}
	Methods()[0].Name = "changed"
	if _, err := ByName("changed"); err == nil {
		t.Error("a caller can change the table")
	}
}

// What is too weak cannot be had in any way.
func TestNoMethod(t *testing.T) {
	for name, want := range map[string]error{
		"modp768": ErrForbidden, "modp1024": ErrForbidden, "modp1536": ErrForbidden,
		"modp1024s160": ErrForbidden, "modp2048s224": ErrForbidden, "modp2048s256": ErrForbidden,
		"": ErrUnknown, "none": ErrUnknown, "X25519": ErrUnknown, "curve448": ErrUnknown, "mlkem512": ErrUnknown, "ecp192": ErrUnknown,
	} {
		m, err := ByName(name)
		if !errors.Is(err, want) || m != (Method{}) {
			t.Errorf("%q: %v, %v", name, m, err)
		}
		if want == ErrUnknown && !strings.Contains(err.Error(), "mlkem768") {
			t.Errorf("%q: %v does not say what there is", name, err)
		}
	}
	known := map[uint16]bool{}
	for _, m := range Methods() {
		known[m.ID] = true
	}
	for id := range uint16(1100) {
		want := ErrUnknown
		switch id {
		case 1, 2, 5, 22, 23, 24:
			want = ErrForbidden
		}
		if _, err := ByID(id); known[id] != (err == nil) || err != nil && !errors.Is(err, want) {
			t.Errorf("%d: %v", id, err)
		}
	}
}
