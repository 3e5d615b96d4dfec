package ikewire

import (
	"bytes"
	"net/netip"
	"testing"
)

func idCases() []payloadCase {
	id := func(t IDType, data string) Identification { return Identification{Type: t, Data: free([]byte(data))} }
	return []payloadCase{
		{"IPv4", IDi{id(IDIPv4Addr, "\x0a\x63\x00\x01")}, "01 000000 0a630001"},
		{"IPv6", IDr{id(IDIPv6Addr, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01")},
			"05 000000 20010db8000000000000000000000001"},
		{"FQDN", IDi{id(IDFQDN, "gw.example.net")}, "02 000000 67772e6578616d706c652e6e6574"},
		{"mail", IDr{id(IDRFC822Addr, "ü@example.net")}, "03 000000 c3bc406578616d706c652e6e6574"},
		{"DN", IDi{id(IDDERASN1DN, "0\x00")}, "09 000000 3000"},
		{"general name", IDi{id(IDDERASN1GN, "\x82\x01a")}, "0a 000000 820161"},
		{"key ID", IDr{id(IDKeyID, "\x00\x01")}, "0b 000000 0001"},
		{"NULL", IDi{id(IDNull, "")}, "0d 000000"},
		{"unknown", IDi{id(200, "")}, "c8 000000"},
	}
}

func TestIdentification(t *testing.T) {
	checkPayloads(t, idCases())
	checkRefused(t, PayloadIDi, []refusedCase{
		{"half a header", "01 0000", ErrTruncated},
		{"IPv4 of 16 bytes", "01 000000 20010db8000000000000000000000001", ErrLength},
		{"IPv6 of 4 bytes", "05 000000 0a630001", ErrLength},
		{"no name", "02 000000", ErrLength},
		{"NUL in a name", "02 000000 6100", ErrValue},
		{"line end in a name", "02 000000 610a", ErrValue},
		{"a name that is not ASCII", "02 000000 c3bc", ErrValue},
		{"NUL in a mail address", "03 000000 6100", ErrValue},
		{"broken UTF-8", "03 000000 61c3", ErrValue},
		{"right-to-left override", "03 000000 e280ae61", ErrValue},
		{"empty DN", "09 000000", ErrLength},
		{"empty key ID", "0b 000000", ErrLength},
		{"NULL with data", "0d 000000 00", ErrLength},
	})
	checkUnsendable(t, []unsendableCase{
		{"no name", IDi{Identification{Type: IDFQDN}}, ErrLength},
		{"NUL", IDr{Identification{Type: IDFQDN, Data: []byte{0}}}, ErrValue},
	})
}

// TestIdentificationKeepsReserved: AUTH covers the reserved bytes as they were received,
// and we send zeros.
func TestIdentificationKeepsReserved(t *testing.T) {
	body := unhex(t, "02 abcdef 61")
	p, err := parseBody(PayloadIDr, NoNextPayload, body)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.(IDr).Body(); !bytes.Equal(got, body) {
		t.Errorf("body %x, want %x", got, body)
	}
	if got, want := p.appendBody(nil), unhex(t, "02 000000 61"); !bytes.Equal(got, want) {
		t.Errorf("sent %x, want %x", got, want)
	}
}

func TestIdentificationAddr(t *testing.T) {
	want := netip.MustParseAddr("10.99.0.1")
	if a, ok := (Identification{Type: IDIPv4Addr, Data: want.AsSlice()}).Addr(); !ok || a != want {
		t.Errorf("got %s, %v", a, ok)
	}
	if a, ok := (Identification{Type: IDKeyID, Data: want.AsSlice()}).Addr(); ok {
		t.Errorf("a key ID is the address %s", a)
	}
	for id, want := range map[*Identification]string{
		{Type: IDIPv4Addr, Data: want.AsSlice()}:  "ID_IPV4_ADDR 10.99.0.1",
		{Type: IDFQDN, Data: []byte("a.example")}: `ID_FQDN "a.example"`,
		{Type: IDKeyID, Data: []byte{1, 2}}:       "ID_KEY_ID 0102",
		{Type: IDNull}:                            "ID_NULL",
		{Type: 77, Data: []byte{1}}:               "ID type 77 01",
	} {
		if got := id.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func FuzzID(f *testing.F) {
	var seeds []string
	for _, c := range idCases() {
		seeds = append(seeds, c.body)
	}
	fuzzPayload(f, PayloadIDi, seeds...)
}
