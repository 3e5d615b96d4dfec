package ikewire

import "testing"

const ke25519 = `00 1f 00 00
	e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c`

func TestKE(t *testing.T) {
	checkPayloads(t, []payloadCase{{"X25519", KE{31, unhex(t, ke25519)[4:]}, ke25519}})
	checkRefused(t, PayloadKE, []refusedCase{
		{"half a header", "00 1f 00", ErrTruncated},
		{"no data", "00 1f 00 00", ErrLength},
	})
	checkUnsendable(t, []unsendableCase{
		{"no data", KE{Method: 31}, ErrLength},
		{"too long", KE{31, make([]byte, 0xfff8)}, ErrTooLong},
	})
}

func FuzzKE(f *testing.F) { fuzzPayload(f, PayloadKE, ke25519) }
