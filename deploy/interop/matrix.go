//go:build linux

package interop

import (
	"slices"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// Matrix is every case, in an order that does not change between runs.
func Matrix() []Case {
	var cases []Case
	for _, suite := range suites() {
		for _, mode := range []Mode{Tunnel, Transport} {
			for _, family := range []Family{IPv4, IPv6} {
				cases = append(cases, espCases(Case{Mode: mode, Inner: family, Outer: family, Suite: suite})...)
			}
		}
	}
	for _, integrity := range integrities() {
		for _, mode := range []Mode{Tunnel, Transport} {
			for _, family := range []Family{IPv4, IPv6} {
				cases = append(cases, ahCases(Case{Mode: mode, Inner: family, Outer: family, Integrity: integrity})...)
			}
		}
	}
	cases = append(cases, mixed()...)
	for i := range cases {
		cases[i].Number = i + 1
	}
	return cases
}

// mixed are the tunnels whose two headers are of different IP versions: some transforms of each kind, since the
// transform does not see the headers.
func mixed() []Case {
	var cases []Case
	for _, families := range [][2]Family{{IPv4, IPv6}, {IPv6, IPv4}} {
		c := Case{Mode: Tunnel, Inner: families[0], Outer: families[1]}
		for _, suite := range suites() {
			if slices.Contains([]string{"aes128gcm16", "chacha20poly1305", "aes256-sha256", "null-sha1"}, suite.String()) {
				c.Suite = suite
				cases = append(cases, espCases(c)...)
			}
		}
		for _, integrity := range integrities() {
			if slices.Contains([]string{"sha256", "aescmac"}, integrity.Name) {
				c.Suite, c.Integrity = transform.Suite{}, integrity
				cases = append(cases, ahCases(c)...)
			}
		}
	}
	return cases
}

func espCases(c Case) []Case {
	var cases []Case
	for _, c.Encapsulation = range []Encapsulation{Native, UDP} {
		for _, c.ESN = range []bool{false, true} {
			cases = append(cases, c)
		}
	}
	return cases
}

func ahCases(c Case) []Case {
	c.Protocol = AH
	var cases []Case
	for _, c.ESN = range []bool{false, true} {
		for _, c.Align8 = range []bool{false, true} {
			if c.Align8 && !c.alignable() {
				continue
			}
			cases = append(cases, c)
		}
	}
	return cases
}

// suites are the ESP transforms that both sides have.
func suites() []transform.Suite {
	return slices.DeleteFunc(allSuites(), func(s transform.Suite) bool { return !inPeer(s) })
}

func allSuites() []transform.Suite { return append(transform.Suites(), transform.InsecureSuites()...) }

// integrities are the AH transforms that both sides have.
func integrities() []transform.Integrity {
	return slices.DeleteFunc(transform.AHIntegrities(), func(i transform.Integrity) bool { return hash(i) == "" })
}

// NotInPeer are the transforms that we have and the kernel has not, ESP's and AH's.
func NotInPeer() (esp, ah []string) {
	for _, s := range allSuites() {
		if !inPeer(s) {
			esp = append(esp, s.String())
		}
	}
	for _, i := range transform.AHIntegrities() {
		if hash(i) == "" {
			ah = append(ah, i.Name)
		}
	}
	return esp, ah
}
