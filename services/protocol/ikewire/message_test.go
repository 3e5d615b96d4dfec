package ikewire

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"testing"
)

// samples are messages in which every payload type occurs.
func samples(t testing.TB) map[string]*Message {
	t.Helper()
	request := emptyHeader()
	first := Header{InitiatorSPI: request.InitiatorSPI, Exchange: IKESAInit, Flags: FlagInitiator}
	var all []Payload
	for _, cases := range [][]payloadCase{saCases()[:1], idCases()[:2], tsCases()[:2], cpCases()[1:2]} {
		for _, c := range cases {
			all = append(all, c.payload)
		}
	}
	all = append(all,
		CERT{CertX509Signature, []byte{0x30, 0}}, CERT{CertX509Signature, []byte{0x30, 0}},
		NewCERTREQ(CertX509Signature, []KeyHash{HashKey(nil)}),
		AUTH{AuthSharedKey, make([]byte, 32)},
		NewDelete(ProtocolESP, []uint32{0x100, 0x101}),
		EAP{[]byte{3, 7, 0, 4}}, VendorID{[]byte("abc")},
		Opaque{Type: 201, Data: []byte{1, 2, 3}}, Opaque{Type: PayloadPS, Data: nil},
		NewChildNotify(RekeySA, ProtocolESP, 0xc0decafe),
	)
	return map[string]*Message{
		"empty": {Header: request},
		"IKE_SA_INIT": {Header: first, Payloads: []Payload{
			NewCookie([]byte("cookie")), saCases()[0].payload, KE{31, unhex(t, ke25519)[4:]},
			Nonce{bytes.Repeat([]byte{7}, 32)},
			NewNATDetection(NATDetectionSourceIP, NewNATHash(first, netip.MustParseAddrPort("10.99.0.1:500"))),
			NewNATDetection(NATDetectionDestinationIP, NewNATHash(first, netip.MustParseAddrPort("10.99.0.2:500"))),
			Notify{Type: IKEv2FragmentationSupported},
			NewHashAlgorithms([]HashAlgorithm{HashSHA256, HashSHA384, HashSHA512, HashIdentity}),
			Notify{Type: IntermediateExchangeSupported}, Notify{Type: UsePPK}, Notify{Type: RedirectSupported},
			VendorID{[]byte("abc")},
		}},
		"all": {Header: request, Payloads: all},
		"SK":  {Header: request, Payloads: []Payload{SK{PayloadIDi, bytes.Repeat([]byte{9}, 40)}}},
		"SKF": {Header: request, Payloads: []Payload{
			VendorID{[]byte("clear")}, SKF{PayloadIDi, 1, 2, bytes.Repeat([]byte{9}, 40)}}},
	}
}

func TestMessageRoundTrip(t *testing.T) {
	for name, m := range samples(t) {
		t.Run(name, func(t *testing.T) {
			b, err := m.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse(b)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Raw(), b) {
				t.Error("raw is not what was parsed")
			}
			if got.raw = nil; !reflect.DeepEqual(got, m) {
				t.Errorf("got %#v\nwant %#v", got, m)
			}
			if again, err := got.Append(nil); err != nil || !bytes.Equal(again, b) {
				t.Errorf("appended %x, %v\nwant     %x", again, err, b)
			}
		})
	}
}

// TestMessagePrefixes: no prefix of a message is a message, nor is one whose Length was
// corrected, unless it ends where a payload does and says so.
func TestMessagePrefixes(t *testing.T) {
	for name, m := range samples(t) {
		b, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		checkPrefixes(t, name, b)
	}
}

func checkPrefixes(t *testing.T, name string, b []byte) {
	t.Helper()
	for n := range b {
		if _, err := Parse(b[:n]); err == nil {
			t.Errorf("%s: %d of %d bytes are a message", name, n, len(b))
		} else {
			wantTyped(t, err)
		}
		if n < HeaderLen {
			continue
		}
		short := bytes.Clone(b[:n])
		setLength(short, n)
		if _, err := Parse(short); err == nil {
			t.Errorf("%s: %d of %d bytes with that length are a message", name, n, len(b))
		} else {
			wantTyped(t, err)
		}
	}
	if _, err := Parse(append(bytes.Clone(b), 0)); !errors.Is(err, ErrTrailing) {
		t.Errorf("%s and a byte: %v", name, err)
	}
}

// TestParseDoesNotWrite: neither parsing nor appending to what was parsed changes the
// datagram.
func TestParseDoesNotWrite(t *testing.T) {
	b, err := samples(t)["all"].Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	before := bytes.Clone(b)
	m, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok := Find[VendorID](m.Payloads); ok {
		_ = append(v.Data, "more"...)
	}
	if id, ok := Find[IDi](m.Payloads); ok {
		id.Body()[0] = 0xff
	}
	if !bytes.Equal(b, before) {
		t.Error("the datagram has changed")
	}
}

// FuzzParse mutates whole messages; what is parsed is canonical after one Append.
func FuzzParse(f *testing.F) {
	for _, m := range samples(f) {
		b, err := m.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, m := range transcript(f).messages {
		f.Add(m.raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= HeaderLen && len(b) <= MaxMessage {
			setLength(b, len(b)) // so that mutants reach the payloads
		}
		m, err := Parse(b)
		if err != nil {
			wantTyped(t, err)
			NotifyFor(err)
			return
		}
		canonical, err := m.Append(nil)
		if err != nil || len(canonical) != len(b) {
			t.Fatalf("%x is parsed but gives %x, %v", b, canonical, err)
		}
		m2, err := Parse(canonical)
		if err != nil {
			t.Fatalf("%x is sent but not parsed: %v", canonical, err)
		}
		if again, err := m2.Append(nil); err != nil || !bytes.Equal(again, canonical) {
			t.Fatalf("%x gives %x, %v", canonical, again, err)
		}
		for _, p := range m.Payloads {
			exercise(p)
		}
		if e, ok, err := m.Envelope(Sizes{IV: 8, Block: 1, ICV: 16}); ok && err == nil {
			e.Intermediate(b[:len(b)%64])
		}
	})
}
