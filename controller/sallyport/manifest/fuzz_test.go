package manifest

import (
	"testing"

	"google.golang.org/protobuf/proto"
)

// FuzzParse: no input panics; what is accepted is written and read back the same, and every field of
// it can be located.
func FuzzParse(f *testing.F) {
	f.Add([]byte(fleet))
	f.Add([]byte("kind: Host\nmetadata: {name: &n a, labels: {x: *n}}\nspec: {subnets: [a, b]}\n"))
	f.Add([]byte("kind: Host\nmetadata: *a\nspec: &a {<<: *a}\n"))
	f.Add([]byte("? kind\n: |-\n  Host\n---\n? [a]: {b}\n"))
	f.Add([]byte("kind: !!str Policy\n%YAML 1.2\n...\n\t- x\n"))
	f.Add([]byte("kind: Host\nmetadata:\n  name: \"\\u00e9\\x41\"\n  createTime: 2026-01-01T00:00:00Z\n"))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, _, err := Parse("f", data)
		if err != nil {
			if _, ok := err.(Errors); !ok || err.Error() == "" {
				t.Fatalf("error %T %q", err, err)
			}
			return
		}
		for _, d := range docs {
			if at, _ := d.Locate("metadata.name"); at.Line < d.Position.Line {
				t.Errorf("the name of %s is at %s, before its document at %s", d.Ref(), at, d.Position)
			}
			text := Append(nil, d.Resource)
			again, _, err := Parse("f", text)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if len(again) != 1 || !proto.Equal(again[0].Resource, d.Resource) {
				t.Fatalf("got  %v\nwant %v\n%s", again, d.Resource, text)
			}
		}
	})
}
