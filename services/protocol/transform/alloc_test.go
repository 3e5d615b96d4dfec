package transform

import "testing"

// No transform allocates per packet.
func TestTransformsDoNotAllocate(t *testing.T) {
	buf := make([]byte, 2048)
	iv, aad := make([]byte, 16), make([]byte, 12)
	for _, e := range encryptions {
		var run func()
		if e.AEAD() {
			aead, salt, err := e.NewAEAD(make(Keymat, e.KeymatLen()))
			if err != nil {
				t.Fatal(err)
			}
			nonce := append(salt, iv[:e.IVLen]...)
			run = func() {
				sealed := aead.Seal(buf[:0], nonce, buf[:1403], aad)
				if _, err := aead.Open(sealed[:0], nonce, sealed, aad); err != nil {
					t.Fatal(err)
				}
				if _, err := aead.Open(buf[:0], nonce, buf[:100], aad); err == nil {
					t.Fatal("junk was opened")
				}
			}
		} else {
			c, err := e.NewCipher(make(Keymat, e.KeymatLen()))
			if err != nil {
				t.Fatal(err)
			}
			run = func() {
				c.Encrypt(buf[:1408], iv[:e.IVLen])
				c.Decrypt(buf[:1408], iv[:e.IVLen])
			}
		}
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations per packet", e, n)
		}
	}
	for _, i := range integrities {
		mac, err := i.NewMAC(make(Keymat, i.KeymatLen()))
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() {
			mac.ResetIV(iv[:i.IVLen])
			mac.Write(buf[:1403])
			mac.Write(aad[:4])
			if icv := mac.AppendICV(buf[:1500]); !mac.Verify(icv[1500:]) {
				t.Fatal("the ICV is wrong")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations per packet", i, n)
		}
	}
}

func BenchmarkTransforms(b *testing.B) {
	buf := make([]byte, 2048)
	for _, e := range encryptions {
		b.Run(e.Name, func(b *testing.B) {
			b.SetBytes(1408)
			if e.AEAD() {
				aead, salt, err := e.NewAEAD(make(Keymat, e.KeymatLen()))
				if err != nil {
					b.Fatal(err)
				}
				nonce := append(salt, make([]byte, e.IVLen)...)
				for b.Loop() {
					aead.Seal(buf[:0], nonce, buf[:1408], buf[2000:2008])
				}
				return
			}
			c, err := e.NewCipher(make(Keymat, e.KeymatLen()))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				c.Encrypt(buf[:1408], buf[1500:1500+e.IVLen])
			}
		})
	}
	for _, i := range integrities {
		b.Run(i.Name, func(b *testing.B) {
			b.SetBytes(1408)
			mac, err := i.NewMAC(make(Keymat, i.KeymatLen()))
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				mac.ResetIV(buf[:i.IVLen])
				mac.Write(buf[:1408])
				mac.AppendICV(buf[:1500])
			}
		})
	}
}
