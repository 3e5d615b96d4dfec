package ikewire

import (
	"bytes"
	"errors"
	"testing"
)

const emptyMessage = `0102030405060708 1112131415161718 00 20 25 08 00000007 0000001c`

func emptyHeader() Header {
	return Header{
		InitiatorSPI: IKESPI{1, 2, 3, 4, 5, 6, 7, 8},
		ResponderSPI: IKESPI{0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18},
		Exchange:     Informational, Flags: FlagInitiator, MessageID: 7,
	}
}

func TestHeader(t *testing.T) {
	want := unhex(t, emptyMessage)
	got, err := (&Message{Header: emptyHeader()}).Append([]byte{0xee})
	if err != nil || !bytes.Equal(got[1:], want) {
		t.Errorf("append: %x, %v", got, err)
	}
	if h, err := ParseHeader(want); err != nil || h != emptyHeader() {
		t.Errorf("parse: %+v, %v", h, err)
	}
	for n := range want {
		if _, err := ParseHeader(want[:n]); !errors.Is(err, ErrTruncated) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestHeaderReserved: reserved flags and the minor version are ignored, and not sent.
func TestHeaderReserved(t *testing.T) {
	b := unhex(t, emptyMessage)
	b[17], b[19] = 0x2f, 0xff
	h, err := ParseHeader(b)
	if err != nil || h.Flags != FlagInitiator|FlagVersion|FlagResponse {
		t.Fatalf("got %+v, %v", h, err)
	}
	h.Flags |= 0xc7
	again, err := (&Message{Header: h}).Append(nil)
	if err != nil || again[17] != 0x20 || again[19] != 0x38 {
		t.Errorf("got %x, %v", again, err)
	}
}

func TestHeaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
		want   error
	}{
		{"a byte more", func(b []byte) []byte { return append(b, 0) }, ErrTrailing},
		{"says a byte less", func(b []byte) []byte { b[27]--; return b }, ErrTrailing},
		{"says a byte more", func(b []byte) []byte { b[27]++; return b }, ErrTruncated},
		{"says 4 GiB", func(b []byte) []byte { b[24] = 0xff; return b }, ErrTruncated},
		{"65536 bytes", func([]byte) []byte { return make([]byte, 0x10000) }, ErrTooLong},
	} {
		if _, err := Parse(c.change(unhex(t, emptyMessage))); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestHeaderVersion(t *testing.T) {
	for version, answered := range map[uint8]bool{0x10: false, 0x00: false, 0x1f: false, 0x30: true, 0xf1: true} {
		b := unhex(t, emptyMessage)
		b[17] = version
		h, err := ParseHeader(b)
		var wrong *VersionError
		if !errors.As(err, &wrong) || wrong.Major != version>>4 || wrong.Minor != version&0xf || h != emptyHeader() {
			t.Errorf("version %x: %+v, %v", version, h, err)
		}
		n, ok := NotifyFor(err)
		if ok != answered || n.Type != InvalidMajorVersion {
			t.Errorf("version %x is answered %v with %s", version, ok, n)
		}
	}
}

func TestFlagsString(t *testing.T) {
	for f, want := range map[Flags]string{0: "", FlagInitiator: "I", FlagInitiator | FlagResponse: "IR", 0xff: "IVR"} {
		if f.String() != want {
			t.Errorf("%02x is %q, want %q", uint8(f), f, want)
		}
	}
	if s := emptyHeader().InitiatorSPI.String(); s != "0102030405060708" {
		t.Error(s)
	}
	if !(IKESPI{}).IsZero() || emptyHeader().InitiatorSPI.IsZero() {
		t.Error("zero SPI")
	}
}
