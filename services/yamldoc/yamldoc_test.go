package yamldoc

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// show writes a tree in one line: {} mapping, [] list, scalars by type and text, aliases followed.
func show(n *yaml.Node) string {
	n = Value(n)
	var parts []string
	for _, child := range n.Content {
		parts = append(parts, show(child))
	}
	switch TypeOf(n) {
	case Mapping:
		return "{" + strings.Join(parts, " ") + "}"
	case List:
		return "[" + strings.Join(parts, " ") + "]"
	case Text:
		return fmt.Sprintf("%q", n.Value)
	default:
		return Describe(n)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"a: b":                                          `{"a" "b"}`,
		"\ufeffa: b":                                    `{"a" "b"}`,
		"a: b\r\nc: |\r\n  d\r\n  e\r\n":                `{"a" "b" "c" "d\ne\n"}`,
		"a: [10.50.1.0/24, fd50:0:0:1::/64]":            `{"a" ["10.50.1.0/24" "fd50:0:0:1::/64"]}`,
		"a: [fd50::/64]":                                `{"a" ["fd50::/64"]}`,
		"a: {b: fd50::1, c: [2001:db8::]}":              `{"a" {"b" "fd50::1" "c" ["2001:db8::"]}}`,
		"a:\n- fd50:0:0:1::/64\n- ::/0\n- ::1\n":        `{"a" ["fd50:0:0:1::/64" "::/0" "::1"]}`,
		"a: &x [b]\nc: *x":                              `{"a" ["b"] "c" ["b"]}`,
		"a: &x b\nc: &x d\ne: *x":                       `{"a" "b" "c" "d" "e" "d"}`,
		"- no\n- on\n- y\n- 0123\n- 1_000\n":            `["no" "on" "y" "0123" "1_000"]`,
		"%YAML 1.2\n---\na: b\n...\n":                   `{"a" "b"}`,
		"\n# c\n%YAML 1.2 # d\n---\na: |\n %YAML 1.2\n": `{"a" "%YAML 1.2\n"}`,
		"? a\n: b":                                      `{"a" "b"}`,
		"a: b # c\n# d\n":                               `{"a" "b"}`,
		"'<<': b":                                       `{"<<" "b"}`,
		"a: <<":                                         `{"a" "<<"}`,
		"a:":                                            `{"a" nothing}`,
		"---\n":                                         `nothing`,
		"hello":                                         `"hello"`,
		strings.Repeat("[", MaxNesting) + strings.Repeat("]", MaxNesting): strings.Repeat("[", MaxNesting) + strings.Repeat("]", MaxNesting),
	} {
		root, err := Parse([]byte(text), 0)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := show(root); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestParseNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "\ufeff"} {
		if root, err := Parse([]byte(text), 0); root != nil || err != nil {
			t.Errorf("%q: %v %v", text, root, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	const keep = "a: b\nc:\n  d: e\n"
	for _, tc := range []struct{ text, want string }{
		{"a: b\nc: d\na: e\n", `3:1 "a" is given twice: first on line 1`},
		{"x: {a: b, 'a': c}", `1:11 "a" is given twice: first on line 1`},
		{"a: !!int 1\n", `1:4 tags are not supported: remove !!int`},
		{"a: !!map {}\n", `1:4 tags are not supported: remove !!map`},
		{"a:\n  - !own b\n", `2:5 tags are not supported: remove !own`},
		{"!!str a: b\n", `1:1 tags are not supported: remove !!str`},
		{"a: &x {}\nb:\n  <<: *x\n", `3:3 merge keys (<<) are not supported: write the fields out`},
		{"a: 1\n7: b\n", `2:1 a key must be a string, this is the number 7: put it in quotes`},
		{"? [a]\n: b\n", `1:3 a key must be a string, this is a list: put it in quotes`},
		{"a: &x b\n*x : c\n", `2:1 a key must be a string, this is an alias: put it in quotes`},
		{"a: b\n---\nc: d\n", `2:1 one document only: another begins here`},
		{"a: &x [b, *x]\n", `1:11 the alias *x stands inside what it names`},
		{"a: b\nc: *d\n", `2:4 there is no anchor &d in this document`},
		{"a: *d\nd: &d e\n", `1:4 there is no anchor &d in this document`},
		{"a: [b,\n  c, *d]\n", `2:6 there is no anchor &d in this document`},
		{"hosts: *\n", `1:1 a * or & at the start of a value is an alias or an anchor: to mean the text, quote it: "*"`},
		{keep + "hosts: *.example\n", `4:1 a * or & at the start of a value is an alias or an anchor: to mean the text, quote it: "*"`},
		{"a: b\xff\n", `1:5 this is not UTF-8`},
		{"a: b\n  # é\x01\n", `2:6 the character U+0001 cannot stand here: write it as "\u0001", in double quotes`},
		{"a: b # c\u2028d: e\n", `1:9 the character U+2028 cannot stand here: write it as "\u2028", in double quotes`},
		{"a: b # c\u0085d: e\n", `1:9 the character U+0085 cannot stand here: write it as "\u0085", in double quotes`},
		{"a: b # c\rd: e\n", `1:9 a carriage return without a line feed: end lines by a line feed`},
		{"\xff\xfea\x00", `1:1 this is not UTF-8`},
		// Syntax: the line is that of the mistake wherever it stands.
		{"a: \"x\" y\nb: c\n", `1:1 not YAML: did not find expected key: check the indentation, and that nothing follows a quoted value`},
		{keep + "f: \"x\" y\nb: c\n", `4:1 not YAML: did not find expected key: check the indentation, and that nothing follows a quoted value`},
		{keep + " f: g\n\n# h\n", `4:1 not YAML: did not find expected key: check the indentation, and that nothing follows a quoted value`},
		{"a:\n  b: c\n   d: e\n", `3:1 not YAML: a ": " where none can be: check the indentation, or quote the value`},
		{keep + "f: g: h\n", `4:1 not YAML: a ": " where none can be: check the indentation, or quote the value`},
		{keep + "f\ng: h\n", `4:1 not YAML: a key without a colon`},
		{keep + "f: 'g\nh: i\nj: k\n", `4:1 not YAML: the quote that opens here is not closed`},
		{"a: \"b\nc: 'd'\n", `1:1 not YAML: the quote that opens here is not closed`},
		{"a: 'b\n  c'\nd: 'e\n\n\n", `3:1 not YAML: the quote that opens here is not closed`},
		{keep + "f: [g, h\ni: j\n", `4:1 not YAML: did not find expected ',' or ']' after the bracket that opens here`},
		{"a: {b: c,\n  d: e\nf: g\n", `1:1 not YAML: did not find expected ',' or '}' after the bracket that opens here`},
		{"a: {b: {c: d}, e: [f,\n  g]\n\n\n", `1:1 not YAML: did not find expected ',' or '}' after the bracket that opens here`},
		{keep + "\tf: g\n", `4:1 not YAML: found a tab character that violates indentation: indent by spaces`},
		{"a:\n\tb: c\n", `2:1 not YAML: found character that cannot start any token: indent by spaces, not tabs, and quote a value that begins with @, ` + "`" + ` or %`},
		{"%YAML 2.0\n---\na: b\n", `1:1 not YAML: found incompatible YAML document`},
		{"a: b\n%YAML 1.2\n", `2:1 not YAML: found incompatible YAML document`},
		{keep + "f: @g\n", `4:1 not YAML: found character that cannot start any token: indent by spaces, not tabs, and quote a value that begins with @, ` + "`" + ` or %`},
		{keep + "f: [a, ::/0]\n", `4:1 not YAML: a value is missing, or one between brackets begins with a colon: quote it: "::/0"`},
		{strings.Repeat("# c\n", 5000) + "f: *\n" + strings.Repeat("# c\n", 5000), `5001:1 a * or & at the start of a value is an alias or an anchor: to mean the text, quote it: "*"`},
		{"a: b\nc: \"d\" e\n" + strings.Repeat("  f\n", 5000), `2:1 not YAML: did not find expected key: check the indentation, and that nothing follows a quoted value`},
	} {
		_, err := Parse([]byte(tc.text), 0)
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Errorf("%.60q: accepted or %v", tc.text, err)
		} else if got := fmt.Sprintf("%d:%d %s", e.Line, e.Column, e.Problem); got != tc.want {
			t.Errorf("%.60q:\n got %s\nwant %s", tc.text, got, tc.want)
		}
	}
}

func TestParseCountsLinesBefore(t *testing.T) {
	root, err := Parse([]byte("a:\n- b\n"), 40)
	if err != nil || root.Line != 41 || root.Content[1].Content[0].Line != 42 {
		t.Errorf("got %+v, %v", root, err)
	}
	for text, want := range map[string]string{
		"a: b\na: c": `line 42: "a" is given twice: first on line 41`,
		"a: b\nc: *": "line 42: a * or & ",
		"a: b\n\x00": "line 42: the character U+0000",
	} {
		if _, err := Parse([]byte(text), 40); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// laughs is a list whose items refer to the list before, ten times each.
func laughs(levels int) string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < levels; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10))
	}
	return b.String()
}

func TestParseBounds(t *testing.T) {
	chain := "a0: &a0 [x]\n"
	for i := 1; i <= MaxNesting; i++ {
		chain += fmt.Sprintf("a%d: &a%d [*a%d]\n", i, i, i-1)
	}
	for name, tc := range map[string]struct{ text, want string }{
		"flow":  {strings.Repeat("[", MaxNesting+1) + strings.Repeat("]", MaxNesting+1), "line 1: collections nest deeper than 32"},
		"block": {strings.Repeat("- ", MaxNesting+1) + "a", "line 1: collections nest deeper than 32"},
		"indented": {func() (s string) {
			for i := range MaxNesting + 1 {
				s += strings.Repeat(" ", i) + "a:\n"
			}
			return s
		}(), "line 33: collections nest deeper than 32"},
		"very deep":    {strings.Repeat("[", MaxSize), "line 1: collections nest too deep"},
		"keys":         {strings.Repeat("? ", MaxSize/2), "line 1: collections nest too deep"},
		"laughs":       {laughs(12), "line 6: aliases make the document longer than 2 MiB"},
		"long strings": {"a: &a " + strings.Repeat("x", MaxSize/2) + "\nb: [" + strings.Repeat("*a, ", 100) + "]\n", "line 2: aliases make the document longer than 2 MiB"},
		"chain":        {chain, "line 32: collections nest deeper than 32"},
		"long":         {strings.Repeat("#", MaxSize+1), "line 1: longer than 1 MiB"},
		"last line":    {strings.Repeat("a\n", 3) + strings.Repeat("# b\n", 50000) + "c: d\n", "line 50004: not YAML: "},
		"late":         {strings.Repeat("- a\n", 20000) + "- *b\n", "line 20001: there is no anchor &b in this document"},
		"blank lines":  {"a: \"b\" c" + strings.Repeat("\n", 100000) + "d: e", "line 1: not YAML: "},
	} {
		start := time.Now()
		_, err := Parse([]byte(tc.text), 0)
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %s", name, err, tc.want)
		}
		if d := time.Since(start); d > time.Minute {
			t.Errorf("%s: took %v", name, d)
		}
	}
}

// TestExpandedBoundIsForAliases: without aliases no text reaches the bound, whatever it is made of.
func TestExpandedBoundIsForAliases(t *testing.T) {
	for _, unit := range []string{"{a},", "a,", `"\L",`, "{a: },"} {
		text := "[" + strings.Repeat(unit, (MaxSize-2)/len(unit)) + "]"
		if _, err := Parse([]byte(text), 0); err != nil {
			t.Errorf("%q: %v", unit, err)
		}
	}
	if _, err := Parse([]byte("\""+strings.Repeat(`\L`, MaxSize/2-1)+"\""), 0); err != nil {
		t.Error(err)
	}
}

func TestTypeOf(t *testing.T) {
	for want, values := range map[Type]string{
		Null:  "~ null Null NULL",
		Bool:  "true True TRUE false False FALSE",
		Int:   "0 7 -7 +7 123456789012345678901234567890 0x1F 0o17",
		Float: "1.10 1. .5 -.5 1e3 1E-3 1.5e+3 .inf -.Inf +.INF .nan 0.5",
		Text: "no yes on off y n tRUE nULL 0123 00 01.5 -012 1_000 1,000 0b1 0x 0xg 0o8 -0x1 1e 1e+ 1.5e 1.e . + +. -x 10.0.0.0/8 10.0.0.1 " +
			"1:30 2026-01-31 2026-01-31T12:00:00Z 1h30m 90s << = .infx inf nan 1e3x 'true' \"7\" '' 'null'",
	} {
		for _, value := range strings.Fields(values) {
			root, err := Parse([]byte("a: "+value), 0)
			if err != nil {
				t.Errorf("%s: %v", value, err)
				continue
			}
			n := root.Content[1]
			if got := TypeOf(n); got != want {
				t.Errorf("TypeOf(%s) = %v, want %v", value, got, want)
			}
			if n.Value != strings.Trim(value, `'"`) {
				t.Errorf("%s became %q", value, n.Value)
			}
		}
	}
	root, err := Parse([]byte("a: |\n  7\nb: >-\n  true\n"), 0)
	if err != nil || TypeOf(root.Content[1]) != Text || TypeOf(root.Content[3]) != Text {
		t.Errorf("block scalars: %v %v", show(root), err)
	}
}

// FuzzParse: no text panics; what is accepted keeps the promises of the package.
func FuzzParse(f *testing.F) {
	f.Add([]byte("a: [10.50.1.0/24, fd50:0:0:1::/64]\nb: &x {c: d}\ne: *x\n"))
	f.Add([]byte("%YAML 1.2\n---\n? k\n: |-\n  v\n...\n# c\n"))
	f.Add([]byte("a: &a [*a]\n<<: !!map {}\n"))
	f.Add([]byte("a: \"\\u00e9\\x41\" b\n\t- 'c\n"))
	f.Add([]byte(laughs(12)))
	f.Fuzz(func(t *testing.T, text []byte) {
		root, err := Parse(text, 0)
		if err != nil {
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Problem == "" || e.Line < 1 || e.Column < 1 || e.Line > strings.Count(string(text), "\n")+1 {
				t.Fatalf("error %T %v", err, err)
			}
			return
		}
		if root != nil {
			left := MaxExpanded
			walk(t, root, 0, &left)
		}
	})
}

// walk follows every alias and checks the bounds on the way.
func walk(t *testing.T, n *yaml.Node, depth int, left *int) {
	n = Value(n)
	if *left -= 1 + len(n.Value); *left < 0 {
		t.Fatal("too long")
	}
	if depth > MaxNesting {
		t.Fatal("too deep")
	}
	if n.Kind == yaml.MappingNode {
		seen := make(map[string]bool)
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if TypeOf(key) != Text || seen[key.Value] {
				t.Fatalf("key %q", key.Value)
			}
			seen[key.Value] = true
		}
	}
	for _, child := range n.Content {
		walk(t, child, depth+1, left)
	}
}
