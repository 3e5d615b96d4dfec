package ikewire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"testing"
)

func TestPadding(t *testing.T) {
	for _, block := range []int{1, 4, 8, 16} {
		for n := range 40 {
			text := bytes.Repeat([]byte{0xaa}, n)
			padded := AppendPadding(bytes.Clone(text), block)
			if len(padded)%block != 0 || len(padded) < n+1 || len(padded) > n+block {
				t.Errorf("%d bytes become %d, block %d", n, len(padded), block)
			}
			if got, err := TrimPadding(padded); err != nil || !bytes.Equal(got, text) {
				t.Errorf("got %x, %v", got, err)
			}
		}
	}
	for _, bad := range []string{"", "01", "aa 02", "aabb ff"} {
		if got, err := TrimPadding(unhex(t, bad)); !errors.Is(err, ErrLength) {
			t.Errorf("%s: %x, %v", bad, got, err)
		}
	}
	if got, err := TrimPadding([]byte{0xaa, 9, 9, 2}); err != nil || !bytes.Equal(got, []byte{0xaa}) {
		t.Errorf("padding of any value: %x, %v", got, err)
	}
}

func TestSKRefuses(t *testing.T) {
	checkRefused(t, PayloadSK, []refusedCase{{"empty", "", ErrLength}})
	checkRefused(t, PayloadSKF, []refusedCase{
		{"half a header", "0001 00", ErrTruncated},
		{"empty", "0001 0001", ErrLength},
		{"number 0", "0000 0001 aa", ErrValue},
		{"number above total", "0003 0002 aa", ErrValue},
		{"total 0", "0000 0000 aa", ErrValue},
		{"257 fragments", "0001 0101 aa", ErrTooMany},
	})
	if _, err := parseBody(PayloadSKF, PayloadIDi, unhex(t, "0002 0002 aa")); !errors.Is(err, ErrValue) {
		t.Errorf("next payload in fragment 2: %v", err)
	}
	checkPayloads(t, []payloadCase{{"SKF", SKF{0, 2, 3, []byte{0xaa}}, "0002 0003 aa"}, {"SK", SK{0, []byte{0xaa}}, "aa"}})
}

// TestSeal lays a message out and cuts it again.
func TestSeal(t *testing.T) {
	inside := []Payload{idCases()[2].payload, AUTH{AuthSharedKey, make([]byte, 32)}}
	plain, err := AppendPayloads(nil, inside)
	if err != nil {
		t.Fatal(err)
	}
	for _, z := range []Sizes{{8, 1, 16}, {16, 16, 32}, {8, 4, 12}, {8, 0, 16}} {
		e, err := Seal(emptyHeader(), []Payload{VendorID{[]byte("clear")}}, inside, z)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(e.Message)
		if err != nil {
			t.Fatal(err)
		}
		got, ok, err := m.Envelope(z)
		if !ok || err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("got %#v, %v, %v\nwant %#v", got, ok, err, e)
		}
		if text, err := TrimPadding(e.Text); err != nil || !bytes.Equal(text, plain) || len(e.Text)%max(1, z.Block) != 0 {
			t.Errorf("text %x, %v", e.Text, err)
		}
		if len(e.AAD)+len(e.IV)+len(e.Text)+len(e.ICV) != len(e.Message) || len(e.IV) != z.IV || len(e.ICV) != z.ICV {
			t.Errorf("windows of %d + %d + %d + %d bytes", len(e.AAD), len(e.IV), len(e.Text), len(e.ICV))
		}
		if a := e.Authenticated(); len(a) != len(e.Message)-z.ICV {
			t.Errorf("%d bytes are authenticated", len(a))
		}
		if e.AAD[len(e.AAD)-4] != uint8(PayloadIDi) || e.Next != PayloadIDi {
			t.Errorf("associated data %x does not end with SK's header", e.AAD)
		}
	}
}

func TestSealEmpty(t *testing.T) {
	e, err := Seal(emptyHeader(), nil, nil, gcmSizes)
	if err != nil || !bytes.Equal(e.Text, []byte{0}) || e.Next != NoNextPayload {
		t.Errorf("got %#v, %v", e, err)
	}
	if _, err := Seal(emptyHeader(), nil, []Payload{SK{Data: []byte{1}}}, gcmSizes); !errors.Is(err, ErrNested) {
		t.Errorf("SK inside SK: %v", err)
	}
	if _, err := Seal(emptyHeader(), nil, []Payload{VendorID{make([]byte, 65480)}}, gcmSizes); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
}

// TestSealWritesICVInPlace: an AEAD may seal Text into itself and append the ICV.
func TestSealWritesICVInPlace(t *testing.T) {
	key := make([]byte, 20)
	e, err := Seal(emptyHeader(), nil, []Payload{VendorID{[]byte("abc")}}, gcmSizes)
	if err != nil {
		t.Fatal(err)
	}
	nonce := append(bytes.Clone(key[16:]), e.IV...)
	gcm(t, key).Seal(e.Text[:0], nonce, e.Text, e.AAD)
	m, err := Parse(e.Message)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := m.Envelope(gcmSizes)
	if err != nil || bytes.Equal(got.ICV, make([]byte, 16)) {
		t.Fatalf("ICV %x, %v", got.ICV, err)
	}
	text, err := gcm(t, key).Open(nil, nonce, append(got.Text, got.ICV...), got.AAD)
	if err != nil {
		t.Fatal(err)
	}
	text, _ = TrimPadding(text)
	if ps, err := ParsePayloads(got.Next, text); err != nil || !reflect.DeepEqual(ps, []Payload{VendorID{[]byte("abc")}}) {
		t.Errorf("got %#v, %v", ps, err)
	}
}

func TestEnvelopeRefuses(t *testing.T) {
	for n := range 40 {
		if n == 0 {
			continue
		}
		b, err := (&Message{Payloads: []Payload{SK{0, make([]byte, n)}}}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		m, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, z := range []Sizes{{8, 1, 16}, {16, 16, 12}} {
			e, ok, err := m.Envelope(z)
			text := n - z.IV - z.ICV
			if fits := text > 0 && text%z.Block == 0; !ok || fits != (err == nil) || err != nil && !errors.Is(err, ErrLength) {
				t.Errorf("%d bytes for %+v: %#v, %v, %v", n, z, e, ok, err)
			}
		}
	}
	for _, m := range []*Message{{}, {Payloads: []Payload{VendorID{}}, raw: []byte{1}}} {
		if _, ok, err := m.Envelope(gcmSizes); ok || err != nil {
			t.Errorf("not encrypted: %v, %v", ok, err)
		}
	}
}

func TestSealFragments(t *testing.T) {
	inside := []Payload{VendorID{bytes.Repeat([]byte("0123456789"), 300)}, Nonce{make([]byte, 32)}}
	plain, err := AppendPayloads(nil, inside)
	if err != nil {
		t.Fatal(err)
	}
	for _, z := range []Sizes{{8, 1, 16}, {16, 16, 32}} {
		for _, mtu := range []int{200, 576, 1252, 5000} {
			all, err := SealFragments(emptyHeader(), []Payload{VendorID{[]byte("clear")}}, inside, z, mtu)
			if err != nil {
				t.Fatal(err)
			}
			got := joinFragments(t, all, z, mtu)
			if !bytes.Equal(got, plain) {
				t.Errorf("mtu %d: got %d bytes, want %d", mtu, len(got), len(plain))
			}
		}
	}
}

// joinFragments parses fragments and adds them in reverse order.
func joinFragments(t *testing.T, all []Envelope, z Sizes, mtu int) []byte {
	t.Helper()
	var r Reassembly
	for i := len(all) - 1; i >= 0; i-- {
		if len(all[i].Message) > mtu {
			t.Errorf("fragment %d has %d bytes, mtu %d", i+1, len(all[i].Message), mtu)
		}
		m, err := Parse(all[i].Message)
		if err != nil {
			t.Fatal(err)
		}
		if clear := len(m.Payloads) - 1; clear != 0 && i != 0 || clear != 1 && i == 0 {
			t.Errorf("fragment %d has %d payloads in clear", i+1, clear)
		}
		e, _, err := m.Envelope(z)
		if err != nil {
			t.Fatal(err)
		}
		text, err := TrimPadding(e.Text)
		if err != nil {
			t.Fatal(err)
		}
		inside, next, done, err := r.Add(e, text)
		if err != nil || done != (i == 0) {
			t.Fatalf("fragment %d of %d: %v, %v", i+1, len(all), done, err)
		}
		if done {
			if next != PayloadVendorID {
				t.Errorf("first payload %s", next)
			}
			return inside
		}
	}
	return nil
}

func TestSealFragmentsRefuses(t *testing.T) {
	big := []Payload{VendorID{make([]byte, 60000)}}
	for mtu, want := range map[int]error{0: ErrLength, 60: ErrLength, 100: ErrTooMany} {
		if _, err := SealFragments(emptyHeader(), nil, big, gcmSizes, mtu); !errors.Is(err, want) {
			t.Errorf("mtu %d: %v, want %v", mtu, err, want)
		}
	}
	if _, err := SealFragments(emptyHeader(), []Payload{VendorID{make([]byte, 500)}}, big, gcmSizes, 500); !errors.Is(err, ErrLength) {
		t.Errorf("no room after what is in clear: %v", err)
	}
	all, err := SealFragments(emptyHeader(), nil, nil, gcmSizes, 576)
	if err != nil || len(all) != 1 || all[0].Total != 1 {
		t.Errorf("empty message: %#v, %v", all, err)
	}
}

// TestIntermediate: RFC 9242 section 3.3.2 gives the same bytes whatever the transforms,
// and whether or not the message went in fragments.
func TestIntermediate(t *testing.T) {
	h := emptyHeader()
	h.Exchange = IKEIntermediate
	inside := []Payload{KE{36, bytes.Repeat([]byte{7}, 1184)}}
	plain, err := AppendPayloads(nil, inside)
	if err != nil {
		t.Fatal(err)
	}
	want := unhex(t, "0102030405060708 1112131415161718 2e 20 2b 08 00000007"+
		fmt.Sprintf("%08x 22 00 %04x", HeaderLen+genericLen+len(plain), genericLen+len(plain)))
	want = append(want, plain...)
	for _, z := range []Sizes{{8, 1, 16}, {16, 16, 32}} {
		e, err := Seal(h, nil, inside, z)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Intermediate(plain); !bytes.Equal(got, want) {
			t.Errorf("got %x\nwant %x", got, want)
		}
		all, err := SealFragments(h, nil, inside, z, 576)
		if err != nil || len(all) < 3 {
			t.Fatal(len(all), err)
		}
		if got := all[0].Intermediate(plain); !bytes.Equal(got, want) {
			t.Errorf("in fragments: got %x\nwant %x", got, want)
		}
	}
	clear := []Payload{VendorID{[]byte("a")}, VendorID{[]byte("b")}}
	whole, err := Seal(h, clear, inside, gcmSizes)
	if err != nil {
		t.Fatal(err)
	}
	parts, err := SealFragments(h, clear, inside, gcmSizes, 576)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := whole.Intermediate(plain), parts[0].Intermediate(plain); !bytes.Equal(a, b) {
		t.Errorf("whole     %x\nfragments %x", a, b)
	} else if int(binary.BigEndian.Uint32(a[lengthOffset:])) != len(a) {
		t.Errorf("length of %d bytes is %x", len(a), a[lengthOffset:HeaderLen])
	}
}

func FuzzSKF(f *testing.F) { fuzzPayload(f, PayloadSKF, "0001 0001 aa", "0002 0003 aabb") }

// FuzzEnvelope cuts any body by any sizes: the windows always make up the message.
func FuzzEnvelope(f *testing.F) {
	f.Add(uint8(8), uint8(1), uint8(16), make([]byte, 40))
	f.Fuzz(func(t *testing.T, iv, block, icv uint8, data []byte) {
		b, err := (&Message{Payloads: []Payload{SK{PayloadIDi, data}}}).Append(nil)
		if err != nil {
			wantTyped(t, err)
			return
		}
		m, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		e, ok, err := m.Envelope(Sizes{int(iv), int(block), int(icv)})
		if err != nil {
			wantTyped(t, err)
			return
		}
		joined := bytes.Join([][]byte{e.AAD, e.IV, e.Text, e.ICV}, nil)
		if !ok || !bytes.Equal(joined, b) || len(e.IV) != int(iv) || len(e.ICV) != int(icv) {
			t.Fatalf("%x is cut into %#v", b, e)
		}
		if text, err := TrimPadding(e.Text); err == nil && len(text) >= len(e.Text) {
			t.Fatalf("%x without padding is %x", e.Text, text)
		}
		e.Intermediate(data)
	})
}
