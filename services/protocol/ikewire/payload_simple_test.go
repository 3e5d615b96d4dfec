package ikewire

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestNonce(t *testing.T) {
	shortest, longest := strings.Repeat("a5", MinNonce), strings.Repeat("5a", MaxNonce)
	checkPayloads(t, []payloadCase{
		{"shortest", Nonce{unhex(t, shortest)}, shortest},
		{"longest", Nonce{unhex(t, longest)}, longest},
	})
	checkRefused(t, PayloadNonce, []refusedCase{
		{"15 bytes", shortest[2:], ErrLength},
		{"257 bytes", longest + "5a", ErrLength},
	})
	checkUnsendable(t, []unsendableCase{{"15 bytes", Nonce{make([]byte, MinNonce-1)}, ErrLength}})
}

func TestVendorID(t *testing.T) {
	checkPayloads(t, []payloadCase{{"text", VendorID{[]byte("abc")}, "616263"}, {"empty", VendorID{nil}, ""}})
}

func TestEAP(t *testing.T) {
	const identity = "01 2a 0005 01"
	checkPayloads(t, []payloadCase{{"identity", EAP{unhex(t, identity)}, identity}, {"success", EAP{[]byte{3, 7, 0, 4}}, "03 07 0004"}})
	checkRefused(t, PayloadEAP, []refusedCase{
		{"no length", "01 2a 00", ErrLength},
		{"shorter than it says", "01 2a 0006 01", ErrLength},
		{"longer than it says", "01 2a 0004 01", ErrLength},
	})
	checkUnsendable(t, []unsendableCase{{"empty", EAP{}, ErrLength}})
}

func TestOpaque(t *testing.T) {
	checkUnsendable(t, []unsendableCase{
		{"a known type", Opaque{Type: PayloadAUTH}, ErrValue},
		{"SKF", Opaque{Type: PayloadSKF}, ErrValue},
		{"no type", Opaque{}, ErrValue},
	})
	for _, kind := range []PayloadType{1, 32, PayloadGSPM, PayloadPS, 200, 255} {
		want := Opaque{Type: kind, Data: []byte{1, 2}}
		b, err := AppendPayloads(nil, []Payload{want})
		if err != nil || !bytes.Equal(b, []byte{0, 0, 0, 6, 1, 2}) {
			t.Errorf("%s: %x, %v", kind, b, err)
		}
		if ps, err := ParsePayloads(kind, b); err != nil || len(ps) != 1 || !reflect.DeepEqual(ps[0], want) {
			t.Errorf("%s: %#v, %v", kind, ps, err)
		}
	}
}

func FuzzNonce(f *testing.F) { fuzzPayload(f, PayloadNonce, strings.Repeat("a5", MinNonce)) }
func FuzzEAP(f *testing.F)   { fuzzPayload(f, PayloadEAP, "01 2a 0005 01") }
