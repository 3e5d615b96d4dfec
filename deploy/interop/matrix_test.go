//go:build linux

package interop

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// TestMatrixIsWhole counts what the matrix must have, by dimensions and not by its loops.
func TestMatrixIsWhole(t *testing.T) {
	cases := Matrix()
	count := func(of func(Case) bool) (n int) {
		for _, c := range cases {
			if of(c) {
				n++
			}
		}
		return n
	}
	esp, ah := NotInPeer()
	suites := len(transform.Suites()) + len(transform.InsecureSuites()) - len(esp)
	integrities := len(transform.AHIntegrities()) - len(ah)
	const modes, families, encapsulations, esn = 2, 2, 2, 2
	if got, want := count(func(c Case) bool { return c.Protocol == ESP && c.Inner == c.Outer }), suites*modes*families*encapsulations*esn; got != want {
		t.Errorf("%d ESP cases, want %d", got, want)
	}
	// Over IPv4 AH is aligned in two ways, over IPv6 in one.
	if got, want := count(func(c Case) bool { return c.Protocol == AH && c.Inner == c.Outer }), integrities*modes*(2+1)*esn; got != want {
		t.Errorf("%d AH cases, want %d", got, want)
	}
	for _, inner := range []Family{IPv4, IPv6} {
		if n := count(func(c Case) bool { return c.Inner == inner && c.Outer != inner }); n < 10 {
			t.Errorf("%d tunnels with IPv%d in the other version", n, inner)
		}
	}
	if n := count(func(c Case) bool { return c.Mode == Transport && c.Inner != c.Outer }); n != 0 {
		t.Errorf("%d cases of transport mode with two IP versions", n)
	}
	for _, s := range append(esp, ah...) {
		if !strings.Contains(s, "blake2s") && !strings.Contains(s, "gmac") {
			t.Errorf("%s: the kernel has it", s)
		}
	}
}

// TestCasesShareNothing: every case has its own description, addresses and SPIs.
func TestCasesShareNothing(t *testing.T) {
	owner := map[string]int{}
	mine := func(what string, c Case) {
		if other, taken := owner[what]; taken {
			t.Errorf("cases %d and %d both have %s", other, c.Number, what)
		}
		owner[what] = c.Number
	}
	for i, c := range Matrix() {
		if c.Number != i+1 {
			t.Fatalf("case %d has the number %d", i+1, c.Number)
		}
		k := WithKeys(c)
		mine(c.String(), c)
		for _, e := range []End{Ours, Theirs} {
			mine(c.Address(e).String(), c)
			mine(string(k.Key[e])+"key", c)
			if k.SPI[Ours] == k.SPI[Theirs] {
				t.Errorf("case %d has one SPI for both directions", c.Number)
			}
			prefix := map[Mode]map[Family]string{
				Tunnel:    {IPv4: "10.20.0.0/16", IPv6: "fd20::/64"},
				Transport: {IPv4: "10.30.0.0/16", IPv6: "fd30::/64"},
			}[c.Mode][c.Inner]
			if !netip.MustParsePrefix(prefix).Contains(c.Address(e)) {
				t.Errorf("case %d: address %v is not in %s", c.Number, c.Address(e), prefix)
			}
		}
	}
}

// TestPairwiseCovers compares the chosen with the matrix by another way than choosing: it looks for two values of every
// case of the matrix together.
func TestPairwiseCovers(t *testing.T) {
	all := Matrix()
	chosen := Pairwise(all)
	if len(chosen) < 40 || len(chosen) > 70 {
		t.Errorf("%d cases are chosen", len(chosen))
	}
	has := func(c Case, name, value string) bool { v, ok := c.Attributes()[name]; return ok && v == value }
	covered := map[[4]string]bool{}
	for _, c := range all {
		for n1, v1 := range c.Attributes() {
			for n2, v2 := range c.Attributes() {
				key := [4]string{n1, v1, n2, v2}
				if n1 >= n2 || covered[key] {
					continue
				}
				if !slices.ContainsFunc(chosen, func(k Case) bool { return has(k, n1, v1) && has(k, n2, v2) }) {
					t.Errorf("no chosen case has %s %s and %s %s", n1, v1, n2, v2)
				}
				covered[key] = true
			}
		}
	}
	if len(covered) < 200 {
		t.Errorf("%d pairs only", len(covered))
	}
	if again := Pairwise(all); !slices.Equal(chosen, again) {
		t.Error("the choice is another one the second time")
	}
}

// TestPairwiseNeedsEach takes one case away: something is then missing, unless later choices had it as well.
func TestPairwiseNeedsEach(t *testing.T) {
	chosen := Pairwise(Matrix())
	last := chosen[len(chosen)-1]
	rest := map[pair]bool{}
	for _, c := range chosen[:len(chosen)-1] {
		for _, p := range pairsOf(c) {
			rest[p] = true
		}
	}
	if !slices.ContainsFunc(pairsOf(last), func(p pair) bool { return !rest[p] }) {
		t.Errorf("case %d, chosen last, adds nothing", last.Number)
	}
}
