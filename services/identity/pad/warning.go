package pad

import (
	"fmt"
	"slices"
	"time"
)

// soon is how long before it expires a certificate is worth a warning.
const soon = 14 * 24 * time.Hour

// Warnings says what is weak or will fail, one sentence each with the entry's name: short secrets, one secret for
// many identities, certificates that expire within 14 days, an identity of ours that our certificate lacks.
func (d *Database) Warnings(now time.Time) []string {
	var all []string
	for _, e := range d.entries {
		for _, w := range e.warnings(now) {
			all = append(all, fmt.Sprintf("peer %s: %s", e.Name, w))
		}
	}
	return all
}

func (e *entry) warnings(now time.Time) []string {
	var all []string
	weak := slices.Clone(e.Accept.Secrets)
	for _, c := range e.Local.Credentials {
		if !c.Secret.IsZero() {
			weak = append(weak, c.Secret)
		}
	}
	for _, s := range weak {
		if err := s.CheckStrength(); err != nil {
			all = append(all, err.Error())
			break
		}
	}
	if len(e.Accept.Secrets) > 0 && !e.Remote.exact() {
		all = append(all, fmt.Sprintf("whoever has the pre-shared key can be any of %s: use certificates, or a peer for each", e.Remote))
	}
	for _, a := range e.anchors {
		all = append(all, ends("the authority's certificate", a.Subject.String(), a.NotAfter, now)...)
	}
	for _, c := range e.Local.Credentials {
		for _, x := range c.Chain {
			all = append(all, ends("our certificate", x.Subject.String(), x.NotAfter, now)...)
		}
		if len(c.Chain) > 0 {
			if err := matchName(c.Chain[0], e.Local.ID); err != nil {
				all = append(all, fmt.Sprintf("our identity is %s, and %v: peers refuse it", e.local, err))
			}
		}
	}
	if len(e.Local.Credentials) == 0 {
		all = append(all, "we have no credential to prove ours with")
	}
	return all
}

func ends(what, name string, end, now time.Time) []string {
	switch {
	case now.After(end):
		return []string{fmt.Sprintf("%s %q has expired at %s", what, name, stamp(end))}
	case now.Add(soon).After(end):
		return []string{fmt.Sprintf("%s %q expires at %s", what, name, stamp(end))}
	}
	return nil
}
