package ikewire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// unhex decodes hexadecimal with blanks and line ends.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// payloadCase is a payload and its body on the wire.
type payloadCase struct {
	name    string
	payload Payload
	body    string
}

// checkPayloads wants parse and append to be each other's inverse, and every prefix of a
// body to be refused with a typed error, or, where the payload ends in free data, to
// parse to what gives that prefix again.
func checkPayloads(t *testing.T, cases []payloadCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			body, next := unhex(t, c.body), nextOf(c.payload)
			if err := c.payload.check(); err != nil {
				t.Fatalf("check: %v", err)
			}
			if got := c.payload.appendBody([]byte{0xee}); !bytes.Equal(got[1:], body) || got[0] != 0xee {
				t.Errorf("append:\n got %x\nwant %x", got[1:], body)
			}
			got, err := parseBody(c.payload.PayloadType(), next, body)
			if err != nil {
				t.Fatalf("parse: %v", err)
			}
			if !reflect.DeepEqual(got, c.payload) {
				t.Errorf("parse:\n got %#v\nwant %#v", got, c.payload)
			}
			for n := range body {
				p, err := parseBody(c.payload.PayloadType(), next, body[:n])
				if err != nil {
					wantTyped(t, err)
				} else if again := p.appendBody(nil); !bytes.Equal(again, body[:n]) {
					t.Errorf("prefix of %d bytes is parsed and gives %x", n, again)
				}
			}
		})
	}
}

func nextOf(p Payload) PayloadType {
	switch p := p.(type) {
	case SK:
		return p.Next
	case SKF:
		return p.Next
	}
	return NoNextPayload
}

// wantTyped fails for an error that wraps none of the package's.
func wantTyped(t *testing.T, err error) {
	t.Helper()
	for _, known := range []error{ErrTruncated, ErrTrailing, ErrTooLong, ErrTooMany, ErrDuplicate, ErrLength, ErrValue, ErrNested} {
		if errors.Is(err, known) {
			return
		}
	}
	var version *VersionError
	var critical *CriticalPayloadError
	if !errors.As(err, &version) && !errors.As(err, &critical) {
		t.Errorf("error %q has no type", err)
	}
}

// refusedCase is a body that must not be parsed.
type refusedCase struct {
	name string
	body string
	want error
}

func checkRefused(t *testing.T, kind PayloadType, cases []refusedCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if p, err := parseBody(kind, NoNextPayload, unhex(t, c.body)); !errors.Is(err, c.want) {
				t.Errorf("got %#v, %v; want %v", p, err, c.want)
			}
		})
	}
}

// unsendableCase is a payload that Append must refuse.
type unsendableCase struct {
	name    string
	payload Payload
	want    error
}

func checkUnsendable(t *testing.T, cases []unsendableCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := Message{Payloads: []Payload{c.payload}}
			if b, err := m.Append(nil); !errors.Is(err, c.want) {
				t.Errorf("got %d bytes, %v; want %v", len(b), err, c.want)
			}
		})
	}
}

// fuzzPayload mutates bodies of one payload type: what is parsed is appended with the same
// length (only reserved bits may change), and that is stable.
func fuzzPayload(f *testing.F, kind PayloadType, seeds ...string) {
	for _, s := range seeds {
		f.Add(uint8(PayloadIDi), unhex(f, s))
	}
	f.Add(uint8(0), []byte{})
	f.Fuzz(func(t *testing.T, next uint8, body []byte) {
		p, err := parseBody(kind, PayloadType(next), body)
		if err != nil {
			wantTyped(t, err)
			return
		}
		if err := p.check(); err != nil {
			t.Fatalf("%x is parsed but may not be sent: %v", body, err)
		}
		b := p.appendBody(nil)
		if len(b) != len(body) {
			t.Fatalf("%x is parsed and gives %x", body, b)
		}
		again, err := parseBody(kind, PayloadType(next), b)
		if err != nil || !bytes.Equal(again.appendBody(nil), b) {
			t.Fatalf("%x is parsed and gives %x, which gives %#v, %v", body, b, again, err)
		}
		if s, ok := p.(fmt.Stringer); ok && s.String() == "" {
			t.Fatalf("%x has no name", body)
		}
		exercise(p)
	})
}

// exercise calls everything that reads a payload's data.
func exercise(p Payload) {
	switch p := p.(type) {
	case SA:
		for _, proposal := range p.Proposals {
			for _, t := range proposal.Transforms {
				_, _ = t.KeyBits()
				_ = t.String()
			}
		}
	case IDi:
		_, _ = p.String(), p.Body()
	case CERT:
		_, _, _ = p.HashAndURL()
	case CERTREQ:
		_, _ = p.Authorities()
	case AUTH:
		if der, _, err := p.DigitalSignature(); err == nil {
			_, _ = ParseSignatureAlgorithm(der)
		}
	case Notify:
		_ = p.CheckData()
	case Delete:
		_ = p.ChildSPIs()
	case TSi:
		for _, s := range p.Selectors {
			_ = s.String()
		}
	case CP:
		for _, a := range p.Attributes {
			_, _ = a.Addr()
			_, _ = a.Prefix()
			_, _ = a.Supported()
		}
	}
}
