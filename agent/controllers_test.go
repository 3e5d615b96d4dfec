package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
)

func TestAddressBook(t *testing.T) {
	answers := map[string]string{"a:1": "192.0.2.2:1", "b:1": ""}
	book := addressBook{
		last: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.9:1")},
		lookup: func(_ context.Context, c string) ([]netip.AddrPort, error) {
			if answers[c] == "" {
				return nil, errors.New("no such host")
			}
			return []netip.AddrPort{netip.MustParseAddrPort(answers[c]), netip.MustParseAddrPort("192.0.2.1:1")}, nil
		},
	}
	for _, step := range []struct{ a, b, want string }{
		{"", "", "[192.0.2.9:1]"},                                    // nothing is known: as in the last life
		{"192.0.2.2:1", "", "[192.0.2.1:1 192.0.2.2:1 192.0.2.9:1]"}, // the last life's may be b's
		{"192.0.2.2:1", "192.0.2.3:1", "[192.0.2.1:1 192.0.2.2:1 192.0.2.3:1]"},
		{"192.0.2.4:1", "", "[192.0.2.1:1 192.0.2.3:1 192.0.2.4:1]"}, // b's stay
	} {
		answers["a:1"], answers["b:1"] = step.a, step.b
		got, err := book.look(t.Context(), []string{"a:1", "b:1"})
		if fmt.Sprint(got) != step.want || (err != nil) != (step.a == "" || step.b == "") {
			t.Errorf("%+v: %v, %v", step, got, err)
		}
	}
}

func TestLookup(t *testing.T) {
	got, err := lookup(t.Context(), "192.0.2.1:7443")
	if err != nil || fmt.Sprint(got) != "[192.0.2.1:7443]" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := lookup(t.Context(), "192.0.2.1"); err == nil {
		t.Error("no port, no error")
	}
}
