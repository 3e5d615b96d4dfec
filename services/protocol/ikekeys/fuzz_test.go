package ikekeys

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"sallyport.dev/sallyport/services/protocol/ikewire"
)

// FuzzOpen: of all messages only those that were sealed are opened, and no other does anything.
func FuzzOpen(f *testing.F) {
	all := suites(f)
	known := make([]map[string]bool, len(all))
	for i, s := range all {
		p := protection(f, s, 1)
		e := sealed(f, p, 1)
		known[i] = map[string]bool{string(e.Message): true}
		f.Add(uint8(i), e.Message)
		es, err := ikewire.SealFragments(header(2), nil, inside(), p.Sizes(), 150)
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range es {
			if err := p.Seal(e); err != nil {
				f.Fatal(err)
			}
			known[i][string(e.Message)] = true
			f.Add(uint8(i), e.Message)
		}
	}
	files, err := filepath.Glob("testdata/strongswan/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no messages of strongSwan: %v", err)
	}
	for i, file := range files {
		for _, raw := range readScript(f, file).messages {
			f.Add(uint8(i), raw)
		}
	}
	f.Fuzz(func(t *testing.T, suite uint8, raw []byte) {
		i := int(suite) % len(all)
		p := protection(t, all[i], 1)
		m, err := ikewire.Parse(raw)
		if err != nil {
			return
		}
		e, ok, err := m.Envelope(p.Sizes())
		if err != nil || !ok {
			return
		}
		before := bytes.Clone(raw)
		text, err := p.Open(e)
		if (err == nil) != known[i][string(raw)] || err != nil && (!errors.Is(err, ErrNotAuthentic) || text != nil) {
			t.Errorf("%v: %x, %v", all[i], text, err)
		}
		if !bytes.Equal(raw, before) || p.State() != (State{Token: 1}) {
			t.Error("Open has changed something")
		}
	})
}

// FuzzInside: whatever is inside an authentic message comes out as it went in, or has a padding that cannot be.
func FuzzInside(f *testing.F) {
	all := suites(f)
	f.Add(uint8(0), []byte{0})
	f.Add(uint8(25), append(fill(31, 9), 15))
	f.Add(uint8(50), append(fill(15, 9), 16))
	f.Add(uint8(255), fill(64, 255))
	f.Fuzz(func(t *testing.T, suite uint8, text []byte) {
		s := all[int(suite)%len(all)]
		p := protection(t, s, 1)
		z := p.Sizes()
		text = text[:min(len(text), 1<<12)/z.Block*z.Block]
		if len(text) == 0 {
			return
		}
		data := make([]byte, z.IV+len(text)+z.ICV)
		copy(data[z.IV:], text)
		m := ikewire.Message{Header: header(1), Payloads: []ikewire.Payload{ikewire.SK{Data: data}}}
		raw, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		e := cut(t, raw, z)
		if err := p.Seal(e); err != nil {
			t.Fatal(err)
		}
		got, err := p.Open(cut(t, raw, z))
		want, wantErr := ikewire.TrimPadding(text)
		if (err == nil) != (wantErr == nil) || err != nil && !errors.Is(err, ikewire.ErrLength) || !bytes.Equal(got, want) {
			t.Errorf("%v: %x, %v, want %x, %v", s, got, err, want, wantErr)
		}
	})
}
