package plan

import (
	"errors"
	"strings"
	"testing"
)

func TestSelectorMatches(t *testing.T) {
	labels := map[string]string{"site": "berlin", "role": "gateway", "example.com/tier": "1", "empty": ""}
	for text, want := range map[string]bool{
		"*":                                true,
		" * ":                              true,
		"site":                             true,
		"!site":                            false,
		"! absent":                         true,
		"absent":                           false,
		"site=berlin":                      true,
		"site==berlin":                     true,
		"site = berlin":                    true,
		"site=paris":                       false,
		"site!=paris":                      true,
		"site!=berlin":                     false,
		"absent!=x":                        true,
		"absent=x":                         false,
		"empty=":                           true,
		"site=":                            false,
		"site!=":                           true,
		"site in (paris, berlin)":          true,
		"site in(berlin)":                  true,
		"site in (paris)":                  false,
		"site notin (paris,rome)":          true,
		"site notin (berlin)":              false,
		"absent notin (a)":                 true,
		"absent in (a)":                    false,
		"site=berlin,role=gateway":         true,
		"site=berlin , role!=gateway":      false,
		"example.com/tier in (1,2),!other": true,
		"in":                               false,
		"in in (a)":                        false,
		"notin!=a":                         true,
		"index=1":                          false,
	} {
		s, err := ParseSelector(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := s.Matches(labels); got != want {
			t.Errorf("%q matches: %v, want %v", text, got, want)
		}
		if s.String() != text || s.IsZero() {
			t.Errorf("%q: String %q, IsZero %v", text, s, s.IsZero())
		}
	}
	if (Selector{}).Matches(labels) || !(Selector{}).IsZero() {
		t.Error("the zero selector selects something")
	}
	if s, _ := ParseSelector("!a"); !s.Matches(nil) {
		t.Error("!a does not select a host without labels")
	}
}

func TestSelectorErrors(t *testing.T) {
	long := strings.Repeat("a", 64)
	for text, want := range map[string]string{
		"":                        `position 1: it is empty; write "*" to select every host`,
		"  ":                      "position 3: it is empty",
		"*,a":                     `position 2: "*" stands alone`,
		"a,":                      "position 3: expected the name of a label",
		",a":                      `position 1: expected the name of a label, found ","`,
		"a b":                     `position 3: expected "=", "!=", "in", "notin" or "," after the label "a"`,
		"a=b c":                   `position 5: expected "," or the end`,
		"a=b=c":                   `position 4: expected "," or the end`,
		"a in b":                  `position 6: expected "(" and the values of the label "a"`,
		"a in ()":                 `position 7: expected a value of the label "a"`,
		"a in (b,)":               `position 9: expected a value of the label "a"`,
		"a in (b":                 `position 8: expected "," or ")"`,
		"a in (b c)":              `position 9: expected "," or ")"`,
		"!":                       "position 2: expected the name of a label",
		"-a":                      `position 1: "-a" is not the name of a label`,
		"a=b-":                    `position 3: "b-" is not the value of a label`,
		"a=x/y":                   `position 4: expected "," or the end`,
		"a>1":                     `position 2: expected "="`,
		"a=ü":                     `position 3: expected "," or the end`,
		"!a=b":                    `position 3: expected "," or the end`,
		long:                      "is not the name of a label: at most 63 characters",
		"a=" + long:               "is not the value of a label: at most 63 characters",
		"a,\n":                    "position 3: expected the name of a label",
		"a\x00":                   "position 2: expected",
		"a in (b),,":              "position 10: expected the name of a label",
		"a notin":                 `position 8: expected "("`,
		"a inn (b)":               `position 3: expected "="`,
		strings.Repeat("a,", 600): "1200 bytes long; at most 1024 are allowed",
	} {
		_, err := ParseSelector(text)
		if !errors.Is(err, ErrSelector) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\nwant %s", text, err, want)
		}
	}
}

func FuzzParseSelector(f *testing.F) {
	for _, seed := range []string{"*", "a", "!a", "a=b,c!=d", "a in (b, c)", "a notin (b),!c", "a=,b", "((", "a in (", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSelector(text)
		if err != nil {
			if !errors.Is(err, ErrSelector) || !s.IsZero() {
				t.Fatalf("%q: %v with %v", text, err, s)
			}
			return
		}
		if s.IsZero() || s.String() != text {
			t.Fatalf("%q parsed to %+v", text, s)
		}
		s.Matches(map[string]string{"a": "b"})
	})
}
