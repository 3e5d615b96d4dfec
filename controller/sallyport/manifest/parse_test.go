package manifest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

const fleet = `# the fleet
kind: Host
metadata:
  name: web-1
  labels: {role: web, "a/b": "1.10"}
spec:
  subnets:
  - 10.1.0.0/24
  - fd00::/64
---
---
kind: Policy
metadata: {name: mesh}
spec:
  hosts: "*"
  priority: -5
  lifetime:
    rekeyTime: 1h30m
    hard_time: 8h
    rekeyBytes: 18446744073709551615
    hardPackets: "12"
status: {pairsUp: 3}
`

func TestParse(t *testing.T) {
	docs, notes, err := Parse("fleet.yaml", []byte(fleet))
	if err != nil {
		t.Fatal(err)
	}
	want := []*operatorv1.Resource{
		{Kind: &operatorv1.Resource_Host{Host: &operatorv1.Host{
			Metadata: &operatorv1.Metadata{Name: "web-1", Labels: map[string]string{"role": "web", "a/b": "1.10"}},
			Spec:     &operatorv1.HostSpec{Subnets: []string{"10.1.0.0/24", "fd00::/64"}},
		}}},
		{Kind: &operatorv1.Resource_Policy{Policy: &operatorv1.Policy{
			Metadata: &operatorv1.Metadata{Name: "mesh"},
			Spec: &operatorv1.PolicySpec{Hosts: "*", Priority: -5, Lifetime: &operatorv1.PolicyLifetime{
				RekeyTime: durationpb.New(90 * time.Minute), HardTime: durationpb.New(8 * time.Hour),
				RekeyBytes: 1<<64 - 1, HardPackets: 12,
			}},
		}}},
	}
	if len(docs) != len(want) {
		t.Fatalf("%d documents, want %d", len(docs), len(want))
	}
	for i := range want {
		if !proto.Equal(docs[i].Resource, want[i]) {
			t.Errorf("document %d:\n got %v\nwant %v", i, docs[i].Resource, want[i])
		}
	}
	if got := docs[1].Ref() + " " + docs[1].Position.String(); got != "policy/mesh fleet.yaml:12:1" {
		t.Errorf("second document is %s", got)
	}
	if len(notes) != 1 || notes[0] != "fleet.yaml:22:1: status is ignored: it is the controller's" {
		t.Errorf("notes %q", notes)
	}
}

func TestParseForms(t *testing.T) {
	for name, text := range map[string]string{
		"marker with text": "--- # c\nkind: Host\nmetadata: {name: a}\nspec: {subnets: [10.0.0.0/8]}\n",
		"empty documents":  "---\n---\n# c\n---\nkind: Host\nmetadata: {name: a}\nspec: {subnets: [10.0.0.0/8]}\n---\n...\n---\n",
		"json":             `{"kind":"Host","metadata":{"name":"a"},"spec":{"subnets":["10.0.0.0/8"]}}`,
		"crlf":             "kind: Host\r\nmetadata:\r\n  name: a\r\nspec:\r\n  subnets:\r\n  - 10.0.0.0/8\r\n",
		"byte order mark":  "\ufeffkind: Host\nmetadata: {name: a}\nspec: {subnets: [10.0.0.0/8]}\n",
		"anchor":           "kind: Host\nmetadata: {name: a, labels: }\nspec:\n  endpoints: &n []\n  subnets: [&s 10.0.0.0/8]\n",
		"alias":            "kind: Host\nmetadata: {name: &n a}\nspec: {subnets: [10.0.0.0/8], endpoints: }\n",
		"directive":        "%YAML 1.2\n---\nkind: Host\nmetadata: {name: a}\nspec: {subnets: [10.0.0.0/8]}\n...\n# end\n",
		"same line":        "--- {kind: Host, metadata: {name: a}, spec: {subnets: [10.0.0.0/8]}}\n",
		"no final newline": "kind: Host\nmetadata:\n  name: a\nspec:\n  subnets: # behind it\n\n    - '10.0.0.0/8'",
		"explicit key":     "? kind\n: Host\nmetadata: {name: a}\nspec: {subnets: [10.0.0.0/8]}\n",
	} {
		docs, _, err := Parse("f", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(docs) != 1 || docs[0].Name != "a" || strings.Join(docs[0].Resource.GetHost().GetSpec().GetSubnets(), " ") != "10.0.0.0/8" {
			t.Errorf("%s: got %v", name, docs)
		}
	}
}

func TestParsePrefixes(t *testing.T) {
	want := "10.50.1.0/24 fd50:0:0:1::/64"
	for name, text := range map[string]string{
		"flow in flow":  "spec: {subnets: [10.50.1.0/24, fd50:0:0:1::/64]}\n",
		"flow":          "spec:\n  subnets: [10.50.1.0/24, fd50:0:0:1::/64]\n",
		"flow, lines":   "spec:\n  subnets: [\n    10.50.1.0/24,   # IPv4\n    fd50:0:0:1::/64 # IPv6\n  ]\n",
		"block":         "spec:\n  subnets:\n  - 10.50.1.0/24\n  - fd50:0:0:1::/64\n",
		"quoted":        "spec: {subnets: ['10.50.1.0/24', \"fd50:0:0:1::/64\"]}\n",
		"Windows block": "spec:\r\n  subnets:\r\n  - 10.50.1.0/24\r\n  - fd50:0:0:1::/64\r\n",
	} {
		docs, _, err := Parse("f", []byte("kind: Host\nmetadata: {name: a}\n"+text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := strings.Join(docs[0].Resource.GetHost().GetSpec().GetSubnets(), " "); got != want {
			t.Errorf("%s: got %s", name, got)
		}
	}
	docs, _, err := Parse("f", []byte("kind: Host\nmetadata: {name: a}\nspec:\n  subnets:\n  - ::/0\n  - ::1/128\n  - 2001:db8::/32\n"))
	if err != nil || strings.Join(docs[0].Resource.GetHost().GetSpec().GetSubnets(), " ") != "::/0 ::1/128 2001:db8::/32" {
		t.Errorf("leading colons: %v %v", docs, err)
	}
}

// TestParseKeepsText: what YAML 1.1 took for a boolean or a number is text, as written.
func TestParseKeepsText(t *testing.T) {
	for _, text := range []string{"no", "yes", "on", "off", "y", "0123", "1_000", "0b11", "1:30", "2026-01-31"} {
		docs, _, err := Parse("f", []byte("kind: Host\nmetadata:\n  name: "+text+"\n  labels: {x: "+text+", no: no}\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		md := docs[0].Resource.GetHost().GetMetadata()
		if md.GetName() != text || md.GetLabels()["no"] != "no" || md.GetLabels()["x"] != text {
			t.Errorf("%s became %v", text, md)
		}
	}
}

func TestParseAlias(t *testing.T) {
	docs, _, err := Parse("f", []byte("kind: Host\nmetadata:\n  name: &n web\n  labels: &l {role: *n}\nspec:\n  endpoints: [*n]\n"))
	if err != nil {
		t.Fatal(err)
	}
	h := docs[0].Resource.GetHost()
	if h.GetMetadata().GetLabels()["role"] != "web" || h.GetSpec().GetEndpoints()[0] != "web" {
		t.Errorf("got %v", h)
	}
}

func TestParseNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n---\n...\n", "%YAML 1.2\n---\n"} {
		docs, notes, err := Parse("f", []byte(text))
		if len(docs) != 0 || len(notes) != 0 || err != nil {
			t.Errorf("%q: %v %v %v", text, docs, notes, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	const host = "kind: Host\nmetadata:\n  name: a\n"
	const policy = "kind: Policy\nmetadata:\n  name: a\nspec:\n  hosts: \"*\"\n"
	for _, tc := range []struct{ name, text, want string }{
		{"missing kind", "metadata: {name: a}\n", `f:1:1: kind is missing: say kind: Host, Policy, ManualPeer, Peer or Credential`},
		{"missing kind in the second", host + "---\n# c\n\nmetadata: {name: b}\n", `f:7:1: kind is missing: say kind: Host, Policy, ManualPeer, Peer or Credential`},
		{"json of the API", `{"host": {"metadata": {"name": "a"}}}`, `f:1:1: kind is missing: say kind: Host, Policy, ManualPeer, Peer or Credential; this looks like -o json: files are written as get -o yaml writes them`},
		{"unknown kind", "kind: Hots\nmetadata: {name: a}\n", `f:1:7: unknown kind "Hots": did you mean "Host"?`},
		{"kind in lower case", "kind: host\n", `f:1:7: unknown kind "host": did you mean "Host"?`},
		{"kind is a number", "kind: 1\n", `f:1:7: kind must be a string, this is the number 1: put it in quotes`},
		{"unknown field", host + "spec:\n  subnet: [10.0.0.0/8]\n", `f:5:3: unknown field "subnet" in spec: did you mean "subnets"?`},
		{"unknown field at the top", host + "sepc: {}\n", `f:4:1: unknown field "sepc" in Host: did you mean "spec"?`},
		{"nothing like it", host + "spec:\n  zzzzzzzz: 1\n", `f:5:3: unknown field "zzzzzzzz" in spec`},
		{"nested field", policy + "  lifetime:\n    rekeytime: 1h\n", `f:7:5: unknown field "rekeytime" in spec.lifetime: did you mean "rekeyTime"?`},
		{"duplicate key", host + "kind: Host\n", `f:4:1: "kind" is given twice: first on line 1`},
		{"duplicate key in the second", host + "---\n" + host + "spec:\n  subnets: []\n  subnets: [10.0.0.0/8]\n", `f:10:3: "subnets" is given twice: first on line 9`},
		{"duplicate by spelling", policy + "  lifetime:\n    rekeyTime: 1h\n    rekey_time: 2h\n", `f:8:5: "rekey_time" is given twice: first as "rekeyTime" on line 7`},
		{"number for a string", "kind: Host\nmetadata:\n  name: a\n  labels:\n    version: 1.10\n", `f:5:14: metadata.labels.version must be a string, this is the number 1.10: put it in quotes`},
		{"boolean for a string", "kind: Host\nmetadata:\n  name: a\n  labels: {x: true}\n", `f:4:15: metadata.labels.x must be a string, this is the boolean true: put it in quotes`},
		{"nothing for a label", "kind: Host\nmetadata:\n  name: a\n  labels:\n    x:\n", `f:5:5: metadata.labels.x has no value: write "" for an empty one`},
		{"number for a key", "kind: Host\nmetadata:\n  name: a\n  labels: {8: x}\n", `f:4:12: a key must be a string, this is the number 8: put it in quotes`},
		{"string for a number", policy + "  priority: high\n", `f:6:13: spec.priority must be a whole number of 32 bits in decimal digits, this is "high"`},
		{"too large", policy + "  priority: 2147483648\n", `f:6:13: spec.priority must be a whole number of 32 bits in decimal digits, this is "2147483648"`},
		{"hexadecimal", policy + "  priority: 0x10\n", `f:6:13: spec.priority must be a whole number of 32 bits in decimal digits, this is "0x10"`},
		{"fraction", policy + "  priority: 1.5\n", `f:6:13: spec.priority must be a whole number, this is the number 1.5`},
		{"negative", policy + "  lifetime: {hardBytes: -1}\n", `f:6:25: spec.lifetime.hardBytes must be a whole number from 0 to 18446744073709551615 in decimal digits, or 0x and hexadecimal ones, this is "-1"`},
		{"number for a duration", policy + "  lifetime:\n    rekeyTime: 3600\n", `f:7:16: spec.lifetime.rekeyTime must be a duration such as 90s, 30m or 1h30m, this is the number 3600`},
		{"days", policy + "  lifetime:\n    rekeyTime: 1d\n", `f:7:16: spec.lifetime.rekeyTime must be a duration such as 90s, 30m or 1h30m, this is "1d"`},
		{"time", "kind: Host\nmetadata:\n  name: a\n  createTime: yesterday\n", `f:4:15: metadata.createTime must be a time such as 2026-01-31T12:00:00Z (RFC 3339), this is "yesterday"`},
		{"string for a list", host + "spec:\n  subnets: 10.0.0.0/8\n", `f:5:12: spec.subnets must be a list, this is a string: write - before each item`},
		{"mapping in a list", host + "spec:\n  subnets:\n  - 10.0.0.0/8\n  - a: b\n", `f:7:5: spec.subnets[1] must be a string, this is a mapping`},
		{"list for a mapping", host + "spec: [a]\n", `f:4:7: spec must be a mapping of keys to values, this is a list`},
		{"scalar for a mapping", "kind: Host\nmetadata: a\n", `f:2:11: metadata must be a mapping of keys to values, this is a string`},
		{"scalar document", "hello\n", `f:1:1: the document must be a mapping of keys to values, this is a string`},
		{"list document", "- kind: Host\n", `f:1:1: the document must be a mapping of keys to values, this is a list`},
		{"no name", "kind: Host\nmetadata:\n  labels: {a: b}\n", `f:2:1: metadata.name is missing: every Host has a name`},
		{"no metadata", "\nkind: Host\n", `f:2:1: metadata.name is missing: every Host has a name`},
		{"merge key", "kind: Host\nmetadata: &m {name: a}\nspec:\n  <<: *m\n", `f:4:3: merge keys (<<) are not supported: write the fields out`},
		{"no anchor", "kind: Host\nmetadata: *m\n", `f:2:11: there is no anchor &m in this document`},
		{"anchor of another document", host + "spec: &s {}\n---\nkind: Host\nmetadata: {name: b}\nspec: *s\n", `f:8:7: there is no anchor &s in this document`},
		{"tag", "kind: !!str Host\n", `f:1:7: tags are not supported: remove !!str`},
		{"tab", "kind: Host\nmetadata:\n\tname: a\n", "f:3:1: not YAML: found character that cannot start any token: indent by spaces, not tabs, and quote a value that begins with @, ` or %"},
		{"unclosed", "kind: Host\nmetadata: {name: b}\n---\nkind: Host\nmetadata: {name: a\n", `f:5:1: not YAML: did not find expected ',' or '}' after the bracket that opens here`},
		{"star without quotes", host + "---\nkind: Policy\nmetadata: {name: mesh}\nspec:\n  hosts: *\n", `f:8:1: a * or & at the start of a value is an alias or an anchor: to mean the text, quote it: "*"`},
		{"default route between brackets", host + "spec: {subnets: [::/0]}\n", `f:4:1: not YAML: a value is missing, or one between brackets begins with a colon: quote it: "::/0"`},
		{"digits in groups", policy + "  priority: 1_000\n", `f:6:13: spec.priority must be a whole number of 32 bits in decimal digits, this is "1_000"`},
		{"laughs", host + "  labels: {x: &x " + strings.Repeat("a", 1<<19) + "}\nspec: {subnets: [*x, *x, *x, *x, *x]}\n", `f:5:17: aliases make the document longer than 2 MiB`},
		{"cycle", host + "spec: &s {lifetime: *s}\n", `f:4:21: the alias *s stands inside what it names`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			docs, _, err := Parse("f", []byte(tc.text))
			if err == nil {
				t.Fatalf("accepted: %v", docs)
			}
			if err.Error() != tc.want {
				t.Errorf("\n got %s\nwant %s", err, tc.want)
			}
		})
	}
}

func TestParseReportsEveryDocument(t *testing.T) {
	_, _, err := Parse("f", []byte("kind: Host\nmetadata: {name: a}\nspec: {x: 1}\n---\n{\n---\nkind: Nope\n"))
	if got, want := strings.Count(err.Error(), "\n")+1, 3; got != want {
		t.Errorf("%d errors, want %d:\n%v", got, want, err)
	}
}

func TestParseBounds(t *testing.T) {
	for name, text := range map[string]string{
		"flow":   "kind: Host\nspec: " + strings.Repeat("[", 1000),
		"block":  strings.Repeat("- ", 1000),
		"keys":   strings.Repeat("? ", 1000),
		"closed": "kind: Host\nspec: " + strings.Repeat("[", 1000) + strings.Repeat("]", 1000),
		"many fields": named("a") + "spec:\n" + func() (s string) {
			for i := range 10000 {
				s += fmt.Sprintf("  x%d:\n", i)
			}
			return s
		}(),
		"aliases":    "kind: Host\nspec: &a [*a]\nmetadata: *a\n",
		"long":       "kind: Host\n" + strings.Repeat("# comment\n", MaxDocumentSize/10),
		"very long":  strings.Repeat("---\n", MaxFileSize/4+1),
		"many wrong": strings.Repeat("kind: X\n---\n", 10000),
	} {
		start := time.Now()
		_, _, err := Parse("f", []byte(text))
		errs, ok := err.(Errors)
		if !ok || len(errs) > maxErrors {
			t.Errorf("%s: error %v", name, err)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("%s: took %v", name, d)
		}
	}
}

// SPIs are read and spoken of in hexadecimal.
func TestHexadecimalNumbers(t *testing.T) {
	const peer = "kind: ManualPeer\nmetadata: {name: a}\nspec: {inbound: {spi: %s}}\n"
	for text, want := range map[string]uint32{"0x1001": 0x1001, "0xffffffff": 0xffffffff, `"0x1A2b"`: 0x1a2b, "4097": 4097, "0x0010": 16} {
		docs, _, err := Parse("f", fmt.Appendf(nil, peer, text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := docs[0].Resource.GetManualPeer().GetSpec().GetInbound().GetSpi(); got != want {
			t.Errorf("%s: got %d, want %d", text, got, want)
		}
	}
	for _, text := range []string{"0x", "0x100000000", "0x0x1", "0x-1", "0x1_0", "x10", "10h"} {
		if _, _, err := Parse("f", fmt.Appendf(nil, peer, text)); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
}
