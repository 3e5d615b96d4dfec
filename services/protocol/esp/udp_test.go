package esp

import "testing"

func classifyCases() map[string]Kind {
	return map[string]Kind{
		"":                                 KindMalformed,
		"\xff":                             KindKeepalive,
		"\x00":                             KindMalformed,
		"\xfe":                             KindMalformed,
		"\xff\xff":                         KindMalformed,
		"\x00\x00\x00\x00":                 KindMalformed, // a marker and nothing after it
		"\x00\x00\x00\x00\x01":             KindIKE,
		"\x00\x00\x01\x00\x00\x00\x00":     KindMalformed,
		"\x00\x00\x01\x00\x00\x00\x00\x01": KindESP,
		"\x00\x00\x00\x01\x00\x00\x00\x01": KindESP, // a reserved SPI: SPI says so
		"\xff\xff\xff\xff\xff\xff\xff\xff": KindESP,
	}
}

func TestClassify(t *testing.T) {
	for datagram, want := range classifyCases() {
		if got := Classify([]byte(datagram)); got != want {
			t.Errorf("Classify(%x) = %d, want %d", datagram, got, want)
		}
	}
}

func FuzzClassify(f *testing.F) {
	for datagram := range classifyCases() {
		f.Add([]byte(datagram))
	}
	f.Fuzz(func(t *testing.T, datagram []byte) {
		switch Classify(datagram) {
		case KindESP:
			if spi, err := SPI(datagram); err == ErrShort || err == nil && spi < MinSPI {
				t.Errorf("%x is ESP, but SPI says %#x, %v", datagram, spi, err)
			}
		case KindIKE:
			if len(datagram) <= NonESPMarkerLen || string(datagram[:4]) != "\x00\x00\x00\x00" {
				t.Errorf("%x is IKE without a marker or a message", datagram)
			}
		case KindKeepalive:
			if string(datagram) != "\xff" {
				t.Errorf("%x is a keepalive", datagram)
			}
		case KindMalformed:
			if len(datagram) >= fixedLen {
				t.Errorf("%x is malformed, but long enough for all", datagram)
			}
		}
	})
}
