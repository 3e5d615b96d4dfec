package ikewire

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestChainRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		first PayloadType
		chain string
		want  error
	}{
		{"no payload, but bytes", NoNextPayload, "00", ErrTrailing},
		{"a payload, but no bytes", PayloadVendorID, "", ErrTruncated},
		{"half a generic header", PayloadVendorID, "00 00 00", ErrTruncated},
		{"length 0", PayloadVendorID, "00 00 0000", ErrLength},
		{"length 3", PayloadVendorID, "00 00 0003", ErrLength},
		{"past the end", PayloadVendorID, "00 00 0005", ErrTruncated},
		{"a byte after the last", PayloadVendorID, "00 00 0004 00", ErrTrailing},
		{"next, but nothing follows", PayloadVendorID, "2b 00 0004", ErrTruncated},
		{"malformed body", PayloadNonce, "00 00 0005 01", ErrLength},
		{"two IDi", PayloadIDi, "23 00 0008 0d000000 00 00 0008 0d000000", ErrDuplicate},
		{"SK inside", PayloadSK, "00 00 0005 01", ErrNested},
		{"SKF inside, second", PayloadVendorID, "35 00 0004 00 00 0009 00010001 01", ErrNested},
		{"257 payloads", PayloadVendorID, strings.Repeat("2b 00 0004", 257), ErrTooMany},
	} {
		t.Run(c.name, func(t *testing.T) {
			if ps, err := ParsePayloads(c.first, unhex(t, c.chain)); !errors.Is(err, c.want) {
				t.Errorf("got %#v, %v; want %v", ps, err, c.want)
			}
		})
	}
}

// TestCriticalBit: it counts for unknown payloads only (RFC 7296 section 2.5).
func TestCriticalBit(t *testing.T) {
	for _, kind := range []PayloadType{1, 32, PayloadGSPM, PayloadKD, PayloadPS, 255} {
		_, err := ParsePayloads(kind, unhex(t, "00 80 0004"))
		var critical *CriticalPayloadError
		if !errors.As(err, &critical) || critical.Type != kind {
			t.Errorf("%s: %v", kind, err)
		}
		n, ok := NotifyFor(err)
		if got, err := n.CriticalPayload(); !ok || err != nil || got != kind {
			t.Errorf("%s is answered %v with %s: %s, %v", kind, ok, n, got, err)
		}
	}
	ps, err := ParsePayloads(PayloadVendorID, unhex(t, "c8 ff 0004 00 7f 0005 01"))
	if err != nil || len(ps) != 2 || !reflect.DeepEqual(ps[1], Opaque{Type: 200, Data: []byte{1}}) {
		t.Errorf("got %#v, %v", ps, err)
	}
	b, err := AppendPayloads(nil, []Payload{Opaque{Type: 200, Critical: true}})
	if err != nil || !bytes.Equal(b, []byte{0, 0x80, 0, 4}) {
		t.Errorf("got %x, %v", b, err)
	}
}

func TestChainIsNotSent(t *testing.T) {
	nonce, sk := Nonce{make([]byte, 16)}, SK{Data: []byte{1}}
	for _, c := range []struct {
		name string
		ps   []Payload
		want error
	}{
		{"two nonces", []Payload{nonce, nonce}, ErrDuplicate},
		{"SK before another", []Payload{sk, nonce}, ErrNested},
		{"SK and SKF", []Payload{sk, SKF{Number: 1, Total: 1, Data: []byte{1}}}, ErrNested},
		{"257 payloads", slices.Repeat([]Payload{VendorID{}}, 257), ErrTooMany},
		{"too long together", []Payload{VendorID{make([]byte, 40000)}, VendorID{make([]byte, 40000)}}, ErrTooLong},
		{"28 bytes too long", []Payload{VendorID{make([]byte, 0xffff-genericLen)}}, ErrTooLong},
	} {
		t.Run(c.name, func(t *testing.T) {
			if b, err := (&Message{Payloads: c.ps}).Append(nil); !errors.Is(err, c.want) {
				t.Errorf("got %d bytes, %v; want %v", len(b), err, c.want)
			}
		})
	}
	if _, err := AppendPayloads(nil, []Payload{sk}); !errors.Is(err, ErrNested) {
		t.Errorf("SK inside: %v", err)
	}
	longest := &Message{Payloads: []Payload{VendorID{make([]byte, MaxMessage-HeaderLen-genericLen)}}}
	b, err := longest.Append(nil)
	if err != nil || len(b) != MaxMessage {
		t.Fatalf("longest message: %d bytes, %v", len(b), err)
	}
	if _, err := Parse(b); err != nil {
		t.Error(err)
	}
}

func TestNotifyForMalformed(t *testing.T) {
	_, err := ParsePayloads(PayloadNonce, unhex(t, "00 00 0005 01"))
	if n, ok := NotifyFor(err); !ok || n.Type != InvalidSyntax || len(n.Data) > 0 {
		t.Errorf("%v is answered %v with %s", err, ok, n)
	}
	if want := "ikewire: Nonce payload: bad length: 1 bytes, want 16 to 256"; err.Error() != want {
		t.Errorf("got %q", err)
	}
	_, err = ParsePayloads(NoNextPayload, []byte{0})
	if n, ok := NotifyFor(err); !ok || n.Type != InvalidSyntax {
		t.Errorf("%v is answered %v with %s", err, ok, n)
	}
	if n, ok := NotifyFor(ErrTruncated); ok {
		t.Errorf("a truncated header is answered with %s", n)
	}
}

func TestFind(t *testing.T) {
	ps := []Payload{VendorID{[]byte("a")}, Notify{Type: UsePPK}, VendorID{[]byte("b")}, Notify{Type: InitialContact}}
	if v, ok := Find[VendorID](ps); !ok || string(v.Data) != "a" {
		t.Errorf("got %v, %v", v, ok)
	}
	if _, ok := Find[SA](ps); ok {
		t.Error("found an SA")
	}
	if all := All[VendorID](ps); len(all) != 2 || string(all[1].Data) != "b" {
		t.Errorf("got %v", all)
	}
	if n, ok := FindNotify(ps, InitialContact); !ok || n.Type != InitialContact {
		t.Errorf("got %v, %v", n, ok)
	}
	if _, ok := FindNotify(ps, Cookie); ok {
		t.Error("found a cookie")
	}
}

// FuzzPayloads mutates what is inside SK: the mutants of an authenticated peer.
func FuzzPayloads(f *testing.F) {
	for _, m := range samples(f) {
		if b, err := AppendPayloads(nil, m.Payloads); err == nil {
			f.Add(uint8(FirstType(m.Payloads)), b)
		}
	}
	for _, m := range transcript(f).messages {
		f.Add(uint8(m.first), m.inside)
	}
	f.Fuzz(func(t *testing.T, first uint8, b []byte) {
		ps, err := ParsePayloads(PayloadType(first), b)
		if err != nil {
			wantTyped(t, err)
			return
		}
		canonical, err := AppendPayloads(nil, ps)
		if len(b) > MaxMessage-HeaderLen {
			return // more than fits in a message
		}
		if err != nil || len(canonical) != len(b) || FirstType(ps) != PayloadType(first) {
			t.Fatalf("%x is parsed but gives %x, %v", b, canonical, err)
		}
		for _, p := range ps {
			exercise(p)
		}
	})
}
