package manual

import (
	"fmt"
	"net/netip"
	"strings"

	"sallyport.dev/sallyport/services/protocol/transform"
)

// checker finds what is there twice.
type checker struct {
	d     *decoder
	names map[string]bool
	spis  map[lookup]string      // whose inbound SA has it
	keys  map[Fingerprint]string // whose SA has it
}

// lookup is what an inbound SA is found by.
type lookup struct {
	spi                 uint32
	destination, source netip.Addr
}

func newChecker(d *decoder) *checker {
	return &checker{d: d, names: make(map[string]bool), spis: make(map[lookup]string), keys: make(map[Fingerprint]string)}
}

// policy compares a policy with those before it.
func (c *checker) policy(p *Policy, at places) {
	if c.names[p.Name] {
		c.d.fail(at.name, nil, "another policy is named %q", p.Name)
	}
	c.names[p.Name] = true
	if p.Protection == nil {
		return
	}
	in, out := &p.Protection.In, &p.Protection.Out
	l := lookup{in.Spec.SPI, in.Spec.Destination, in.Spec.Source}
	if other, taken := c.spis[l]; taken {
		c.d.fail(at.in, nil, "SPI %#x of in is that of policy %q: a packet that arrives could be for either", l.spi, other)
	}
	c.spis[l] = p.Name
	for _, own := range []struct {
		sa   *SA
		name string
	}{{in, "in"}, {out, "out"}} {
		n := at.in
		if own.name == "out" {
			n = at.out
		}
		for _, key := range ownKeys(own.sa.suite(), own.sa.Keymat) {
			f := fingerprint(key)
			if other, taken := c.keys[f]; taken {
				c.d.fail(n, ErrKey, "%s has a key that is also used by %s: no key protects two directions or two SAs; make each by openssl rand -hex", own.name, other)
				break
			}
			c.keys[f] = fmt.Sprintf("%s of policy %q", own.name, p.Name)
		}
	}
}

// suite is what the SA's transform was made from.
func (s *SA) suite() transform.Suite {
	var suite transform.Suite
	suite.Integrity, _ = transform.IntegrityByID(s.Spec.Transform.Integrity)
	if s.Spec.Transform.ID != 0 {
		suite.Encryption, _ = transform.InsecureByID(s.Spec.Transform.ID, s.Spec.Transform.KeyBits)
	}
	return suite
}

// parts says what key material is made of.
func parts(s transform.Suite) string {
	var all []string
	add := func(n int, what string) {
		if n > 0 {
			all = append(all, fmt.Sprintf("%d of %s", n, what))
		}
	}
	add(s.Encryption.KeyLen, "encryption key")
	add(s.Encryption.SaltLen, "salt")
	add(s.Integrity.KeyLen, "integrity key")
	add(s.Integrity.SaltLen, "salt")
	return strings.Join(all, ", then ")
}
