package ikewire

import (
	"bytes"
	"errors"
	"testing"
)

// The appendices of RFC 7427 (A.1, A.3, A.4) and RFC 8420 (A.1, A.2).
func algorithmIdentifiers() map[SignatureAlgorithm]string {
	return map[SignatureAlgorithm]string{
		SignRSAPKCS1SHA256: "300d06092a864886f70d01010b0500",
		SignRSAPKCS1SHA384: "300d06092a864886f70d01010c0500",
		SignRSAPKCS1SHA512: "300d06092a864886f70d01010d0500",
		SignECDSASHA256:    "300a06082a8648ce3d040302",
		SignECDSASHA384:    "300a06082a8648ce3d040303",
		SignECDSASHA512:    "300a06082a8648ce3d040304",
		SignRSAPSSSHA256: `304106092a864886f70d01010a3034a00f300d06096086480165030402010500
			a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120`,
		SignRSAPSSSHA384: `304106092a864886f70d01010a3034a00f300d06096086480165030402020500
			a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130`,
		SignRSAPSSSHA512: `304106092a864886f70d01010a3034a00f300d06096086480165030402030500
			a11c301a06092a864886f70d010108300d06096086480165030402030500a203020140`,
		SignEd25519: "300506032b6570",
		SignEd448:   "300506032b6571",
	}
}

func TestSignatureAlgorithms(t *testing.T) {
	all := algorithmIdentifiers()
	for _, a := range signatureAlgorithms() {
		want := unhex(t, all[a])
		if got := a.AlgorithmIdentifier(); !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", a, got, want)
		}
		if got, err := ParseSignatureAlgorithm(want); err != nil || got != a {
			t.Errorf("%s is parsed as %s, %v", a, got, err)
		}
		for n := range want {
			if got, err := ParseSignatureAlgorithm(want[:n]); !errors.Is(err, ErrValue) {
				t.Errorf("%d bytes of %s: %s, %v", n, a, got, err)
			}
		}
		if _, err := ParseSignatureAlgorithm(append(want, 0)); !errors.Is(err, ErrValue) {
			t.Errorf("%s with a byte more: %v", a, err)
		}
		if a.Hash() == 0 {
			t.Errorf("%s has no hash", a)
		}
	}
	if len(all) != len(signatureAlgorithms()) {
		t.Errorf("%d algorithms, %d tested", len(signatureAlgorithms()), len(all))
	}
	if got := SignatureAlgorithm(0).AlgorithmIdentifier(); got != nil {
		t.Errorf("no algorithm gives %x", got)
	}
}

// TestSignatureAlgorithmVariants: what peers encode otherwise (RFC 4055 sections 2.1 and
// 3.1), and what must stay unknown.
func TestSignatureAlgorithmVariants(t *testing.T) {
	for _, c := range []struct {
		name string
		der  string
		want SignatureAlgorithm
	}{
		{"RSA without parameters", "300b06092a864886f70d01010b", SignRSAPKCS1SHA256},
		{"PSS hashes without NULL", `303d06092a864886f70d01010a3030a00d300b0609608648016503040201
			a11a301806092a864886f70d010108300b0609608648016503040201a203020120`, SignRSAPSSSHA256},
		{"PSS with the trailer field", `304606092a864886f70d01010a3039a00f300d06096086480165030402010500
			a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120a303020101`, SignRSAPSSSHA256},
		{"PSS with trailer field 2", `304606092a864886f70d01010a3039a00f300d06096086480165030402010500
			a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120a303020102`, 0},
		{"PSS with salt of 20", `304106092a864886f70d01010a3034a00f300d06096086480165030402010500
			a11c301a06092a864886f70d010108300d06096086480165030402010500a203020114`, 0},
		{"PSS with two hashes", `304106092a864886f70d01010a3034a00f300d06096086480165030402010500
			a11c301a06092a864886f70d010108300d06096086480165030402020500a203020120`, 0},
		{"PSS with defaults, SHA-1", "300d06092a864886f70d01010a3000", 0},
		{"PSS without parameters", "300b06092a864886f70d01010a", 0},
		{"SHA-1 with RSA", "300d06092a864886f70d0101050500", 0},
		{"ECDSA with NULL", "300c06082a8648ce3d0403020500", 0},
		{"Ed25519 with NULL", "300706032b65700500", 0},
		{"DSA with SHA-256", "300b0609608648016503040302", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseSignatureAlgorithm(unhex(t, c.der))
			if got != c.want || (err == nil) != (c.want != 0) || err != nil && !errors.Is(err, ErrValue) {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func FuzzSignatureAlgorithm(f *testing.F) {
	for _, s := range algorithmIdentifiers() {
		f.Add(unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		a, err := ParseSignatureAlgorithm(der)
		if err != nil {
			wantTyped(t, err)
			return
		}
		if again, err := ParseSignatureAlgorithm(a.AlgorithmIdentifier()); err != nil || again != a {
			t.Fatalf("%x is %s, whose own form is %s, %v", der, a, again, err)
		}
	})
}
