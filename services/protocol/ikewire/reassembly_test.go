package ikewire

import (
	"errors"
	"reflect"
	"testing"
)

func part(number, total uint16) Envelope { return Envelope{Number: number, Total: total} }

func TestReassembly(t *testing.T) {
	var r Reassembly
	add := func(e Envelope, text string, wantDone bool) string {
		t.Helper()
		inside, _, done, err := r.Add(e, []byte(text))
		if err != nil || done != wantDone {
			t.Fatalf("fragment %d of %d: %v, %v", e.Number, e.Total, done, err)
		}
		return string(inside)
	}
	add(part(2, 2), "old", false)
	first := part(1, 3)
	first.Next = PayloadIDi
	add(part(3, 3), "c", false) // cut smaller: starts anew
	add(part(3, 3), "again", false)
	add(part(1, 2), "late", false) // of the old cut
	add(first, "a", false)
	if got := add(part(2, 3), "", true); got != "ac" {
		t.Errorf("got %q", got)
	}
	if r.Next != PayloadIDi || r.Count != 3 || r.Bytes != 2 {
		t.Errorf("got %+v", r)
	}
	add(part(2, 3), "", false) // the whole is given out once
}

func TestReassemblyKeepsACopy(t *testing.T) {
	var r Reassembly
	text := []byte("a")
	if _, _, _, err := r.Add(part(1, 2), text); err != nil {
		t.Fatal(err)
	}
	text[0] = 'x'
	if got, _, done, err := r.Add(part(2, 2), []byte("b")); string(got) != "ab" || !done || err != nil {
		t.Errorf("got %q, %v, %v", got, done, err)
	}
}

func TestReassemblyRefuses(t *testing.T) {
	r := Reassembly{}
	if _, _, _, err := r.Add(part(1, 3), make([]byte, 40000)); err != nil {
		t.Fatal(err)
	}
	before := r
	for _, c := range []struct {
		name string
		e    Envelope
		want error
	}{
		{"SK", part(0, 0), ErrValue},
		{"number 0", part(0, 3), ErrValue},
		{"number above total", part(4, 3), ErrValue},
		{"257 fragments", part(1, 257), ErrTooMany},
		{"next payload in fragment 2", Envelope{Number: 2, Total: 3, Next: PayloadIDi}, ErrValue},
		{"too long", part(2, 3), ErrTooLong},
	} {
		if _, _, done, err := r.Add(c.e, make([]byte, 40000)); done || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", c.name, done, err)
		}
		if !reflect.DeepEqual(r, before) || r.Parts[1] != nil {
			t.Errorf("%s has changed the state", c.name)
		}
	}
}

// FuzzReassembly adds fragments in any order; memory stays bounded and what comes out is
// what went in.
func FuzzReassembly(f *testing.F) {
	f.Add([]byte{1, 3, 3, 3, 2, 3})
	f.Add([]byte{1, 2, 1, 3, 2, 2, 2, 3, 3, 3})
	f.Fuzz(func(t *testing.T, script []byte) {
		var r Reassembly
		for ; len(script) >= 2; script = script[2:] {
			inside, _, done, err := r.Add(part(uint16(script[0]), uint16(script[1])), script[:1])
			if err != nil {
				wantTyped(t, err)
			}
			if done && len(inside) != int(r.Total) {
				t.Fatalf("%d bytes of %d fragments", len(inside), r.Total)
			}
			for i, b := range inside {
				if int(b) != i+1 {
					t.Fatalf("fragment %d is %d", i+1, b)
				}
			}
			if len(r.Parts) > MaxFragments || r.Bytes > MaxMessage || r.Count > len(r.Parts) {
				t.Fatalf("state %+v", r)
			}
		}
	})
}
