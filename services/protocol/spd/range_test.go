package spd

import (
	"net/netip"
	"slices"
	"testing"
)

func TestRangeWithout(t *testing.T) {
	r := func(first, last string) Range { return Range{netip.MustParseAddr(first), netip.MustParseAddr(last)} }
	whole := r("10.0.0.10", "10.0.0.20")
	for _, c := range []struct {
		name  string
		taken Range
		want  []Range
	}{
		{"below", r("10.0.0.1", "10.0.0.9"), []Range{whole}},
		{"above", r("10.0.0.21", "10.0.0.30"), []Range{whole}},
		{"the first", r("10.0.0.1", "10.0.0.10"), []Range{r("10.0.0.11", "10.0.0.20")}},
		{"the last", r("10.0.0.20", "10.0.0.30"), []Range{r("10.0.0.10", "10.0.0.19")}},
		{"the middle", r("10.0.0.12", "10.0.0.14"), []Range{r("10.0.0.10", "10.0.0.11"), r("10.0.0.15", "10.0.0.20")}},
		{"all of it", whole, nil},
		{"more than it", r("0.0.0.0", "255.255.255.255"), nil},
		{"another family", r("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), []Range{whole}},
	} {
		if got := whole.Without(c.taken); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	everything := r("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	if got := everything.Without(r("::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")); !slices.Equal(got, []Range{r("::", "::")}) {
		t.Errorf("up to the last address: %v", got)
	}
}
