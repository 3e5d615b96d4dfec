//go:build linux

package strongswan

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// ikeSA is an IKE SA as one of both sides has it.
type ikeSA struct {
	spis     string // initiator's, responder's
	children []childSA
}

// childSA is a child SA with its SPIs, in hexadecimal, from our side.
type childSA struct{ in, out, installed string }

// ours asks the controller.
func (r *run) ours(ctx context.Context) ([]ikeSA, error) {
	out, err := r.Lab.CLICommand(ctx, "get", "ike-sas", "-l", "peer="+peerName, "-o", "json").Output()
	if err != nil {
		return nil, fmt.Errorf("interop: get ike-sas: %w: %s", err, out)
	}
	var list struct {
		Resources []struct {
			SA struct {
				Status struct {
					State        string `json:"state"`
					InitiatorSPI string `json:"initiatorSpi"`
					ResponderSPI string `json:"responderSpi"`
					Children     []struct {
						InboundSPI  uint32 `json:"inboundSpi"`
						OutboundSPI uint32 `json:"outboundSpi"`
						Installed   string `json:"installed"`
					} `json:"children"`
				} `json:"status"`
			} `json:"ikeSecurityAssociation"`
		} `json:"resources"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("interop: get ike-sas: %w: %s", err, out)
	}
	var all []ikeSA
	for _, resource := range list.Resources {
		s := resource.SA.Status
		if s.State == "closing" {
			continue // it only repeats its last answer
		}
		sa := ikeSA{spis: s.InitiatorSPI + " " + s.ResponderSPI}
		for _, c := range s.Children {
			if c.Installed != "deleting" && c.Installed != "draining" {
				sa.children = append(sa.children, childSA{fmt.Sprintf("%08x", c.InboundSPI), fmt.Sprintf("%08x", c.OutboundSPI), c.Installed})
			}
		}
		all = append(all, sa)
	}
	return all, nil
}

// What swanctl --list-sas says of an IKE SA and of a child SA.
var (
	ikeLine   = regexp.MustCompile(`^\S+: #\d+, ESTABLISHED, IKEv2, ([0-9a-f]{16})_i\*? ([0-9a-f]{16})_r`)
	childLine = regexp.MustCompile(`^  \S+: #\d+, .*INSTALLED`)
	inLine    = regexp.MustCompile(`^    in  ([0-9a-f]{8})`)
	outLine   = regexp.MustCompile(`^    out ([0-9a-f]{8})`)
)

// theirs asks charon. SPIs are from our side.
func (r *run) theirs(ctx context.Context) ([]ikeSA, error) {
	out, err := r.charon.Swanctl(ctx, "--list-sas")
	if err != nil {
		return nil, err
	}
	return readSAs(out), nil
}

func readSAs(text string) (all []ikeSA) {
	for line := range strings.Lines(text) {
		if m := ikeLine.FindStringSubmatch(line); m != nil {
			all = append(all, ikeSA{spis: m[1] + " " + m[2]})
			continue
		}
		if len(all) == 0 {
			continue
		}
		sa := &all[len(all)-1]
		if childLine.MatchString(line) {
			sa.children = append(sa.children, childSA{installed: "both"})
		}
		if len(sa.children) == 0 {
			continue
		}
		c := &sa.children[len(sa.children)-1]
		if m := inLine.FindStringSubmatch(line); m != nil {
			c.out = m[1] // what they open, we seal
		} else if m := outLine.FindStringSubmatch(line); m != nil {
			c.in = m[1]
		}
	}
	return all
}

// same says why the two sides differ.
func (r *run) same(ctx context.Context) ([]ikeSA, error) {
	ours, err := r.ours(ctx)
	if err != nil {
		return nil, err
	}
	theirs, err := r.theirs(ctx)
	if err != nil {
		return nil, err
	}
	for _, all := range [][]ikeSA{ours, theirs} {
		slices.SortFunc(all, func(a, b ikeSA) int { return strings.Compare(a.spis, b.spis) })
		for _, sa := range all {
			slices.SortFunc(sa.children, func(a, b childSA) int { return strings.Compare(a.in, b.in) })
		}
	}
	equal := slices.EqualFunc(ours, theirs, func(a, b ikeSA) bool { return a.spis == b.spis && slices.Equal(a.children, b.children) })
	if !equal {
		return ours, fmt.Errorf("the sides differ: ours %v, theirs %v", ours, theirs)
	}
	return ours, nil
}

// counts waits until both sides have the same, and so many IKE SAs and child SAs.
func (r *run) counts(ctx context.Context, ikes, children int) (all []ikeSA, err error) {
	err = until(ctx, patience, fmt.Sprintf("both sides have %d IKE SAs and %d child SAs", ikes, children), func() error {
		if all, err = r.same(ctx); err != nil {
			return err
		}
		n := 0
		for _, sa := range all {
			n += len(sa.children)
		}
		if len(all) != ikes || n != children {
			return fmt.Errorf("there are %d and %d: %v", len(all), n, all)
		}
		return nil
	})
	return all, err
}
