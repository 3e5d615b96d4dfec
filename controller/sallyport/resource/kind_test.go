package resource

import (
	"testing"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

func TestEveryKindOfTheAPIIsKnown(t *testing.T) {
	fields := (&operatorv1.Resource{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields()
	if got, want := len(Kinds()), fields.Len(); got != want {
		t.Fatalf("%d kinds, the API has %d", got, want)
	}
	for _, k := range Kinds() {
		r, inner, ok := New(k)
		if !ok {
			t.Fatalf("New(%s) failed", k.Name)
		}
		if got := string(inner.Descriptor().Name()); got != k.Name {
			t.Errorf("New(%s) made a %s", k.Name, got)
		}
		if got, ok := Of(r); !ok || got.Enum != k.Enum {
			t.Errorf("Of(New(%s)) = %v, %v", k.Name, got, ok)
		}
		if got := OfEnum(k.Enum); got.Name != k.Name {
			t.Errorf("OfEnum(%v) = %s", k.Enum, got.Name)
		}
		for _, name := range append([]string{k.Name, k.Singular, k.Plural}, k.Aliases...) {
			if got, ok := Lookup(name); !ok || got.Enum != k.Enum {
				t.Errorf("Lookup(%q) = %v, %v", name, got.Name, ok)
			}
		}
	}
}

func TestEmptyResource(t *testing.T) {
	for _, r := range []*operatorv1.Resource{nil, {}} {
		if _, ok := Of(r); ok {
			t.Errorf("Of(%v) found a kind", r)
		}
		if Metadata(r) != nil {
			t.Errorf("Metadata(%v) is not nil", r)
		}
	}
	if got := OfEnum(99).Singular; got != "99" {
		t.Errorf("OfEnum(99).Singular = %q", got)
	}
}

func TestRef(t *testing.T) {
	r := &operatorv1.Resource{Kind: &operatorv1.Resource_JoinToken{JoinToken: &operatorv1.JoinToken{
		Metadata: &operatorv1.Metadata{Name: "x1"},
	}}}
	if got := Ref(r); got != "join-token/x1" {
		t.Errorf("Ref = %q", got)
	}
}
