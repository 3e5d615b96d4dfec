package manual

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"

	"sallyport.dev/sallyport/services/protocol/spd"
	"sallyport.dev/sallyport/services/yamldoc"
)

// keyReader returns the content of a key-file; the caller clears it.
type keyReader func(path string) ([]byte, error)

// Parse reads the text of a file, whose name errors begin with. A key-file is read as Load does, relative to
// the current folder. Errors: Errors.
func Parse(name string, text []byte) (*File, error) {
	file, _, err := parse(name, text, keyFiles("."))
	return file, err
}

// parse also says whether the text itself holds a key.
func parse(name string, text []byte, read keyReader) (_ *File, inline bool, _ error) {
	root, err := yamldoc.Parse(text, 0)
	if bad, ok := errors.AsType[*yamldoc.Error](err); ok {
		// What cannot be read may hold a key.
		return nil, true, Errors{{Position: Position{name, bad.Line, bad.Column}, Message: bad.Problem}}
	}
	if err != nil {
		return nil, true, err
	}
	d := &decoder{file: name, readKey: read}
	f := new(File)
	if root == nil {
		d.fail(&yaml.Node{Line: 1, Column: 1}, nil, "the file is empty: want default and policies")
	} else {
		d.top(f, root)
	}
	if len(d.errs) > 0 {
		f.Clear()
		slices.SortStableFunc(d.errs, func(a, b *Error) int {
			return cmp.Or(cmp.Compare(a.Position.Line, b.Position.Line), cmp.Compare(a.Position.Column, b.Position.Column))
		})
		return nil, d.inline, d.errs
	}
	return f, d.inline, nil
}

func (d *decoder) top(f *File, root *yaml.Node) {
	m, ok := d.mapping(root, "the file", []string{"insecure", "default", "policies"})
	if !ok {
		return
	}
	f.Insecure = d.boolean(m, "insecure", false)
	if _, given := m["default"]; !given {
		d.fail(root, nil, "default is missing: say bypass, if what no policy matches may pass in clear, or discard")
	}
	f.DiscardRest = d.word(m, "default", "bypass", "discard") == 1
	policies, given := m["policies"]
	if !given {
		d.fail(root, nil, "policies is missing: say policies: [] if there are none")
		return
	}
	list := d.list(policies)
	if len(list) > maxPolicies {
		d.fail(policies.key, nil, "%d policies: at most %d", len(list), maxPolicies)
		return
	}
	c := newChecker(d)
	for i, n := range list {
		p, at, ok := d.policy(n, fmt.Sprintf("policies[%d]", i), f.Insecure)
		f.Policies = append(f.Policies, p) // also a bad one, so that its keys are cleared
		if ok {
			c.policy(&p, at)
		}
	}
}

var (
	policyFields     = []string{"name", "action", "local", "remote"}
	protectionFields = []string{"mode", "protocol", "proposal", "esn", "encapsulation", "local-address", "remote-address",
		"remote-behind-nat", "local-behind-nat", "in", "out", "replay-window", "df", "dscp", "ecn", "hop-limit", "pad",
		"dummy-interval", "path-mtu", "ah-align", "original-addresses", "lifetime", "populate"}
)

// places are where parts of a policy stand.
type places struct{ policy, name, in, out *yaml.Node }

// policy reads one policy. It returns false when errors keep it from being compared with others.
func (d *decoder) policy(n *yaml.Node, what string, insecure bool) (p Policy, at places, ok bool) {
	m, ok := d.mapping(n, what, slices.Concat(policyFields, protectionFields))
	if !ok {
		return Policy{}, places{}, false
	}
	before := len(d.errs)
	at = places{policy: n, name: m["name"].value, in: m["in"].value, out: m["out"].value}
	for _, name := range policyFields {
		if _, given := m[name]; !given {
			d.fail(n, nil, "%s of %s is missing", name, what)
		}
	}
	if e, given := m["name"]; given {
		p.Name = d.name(e)
	}
	p.Local, p.Remote = d.selectors(m, "local"), d.selectors(m, "remote")
	if _, given := m["action"]; given {
		d.action(m, n, &p, insecure)
	}
	return p, at, len(d.errs) == before
}

// action reads what becomes of the traffic, and how.
func (d *decoder) action(m fields, n *yaml.Node, p *Policy, insecure bool) {
	switch d.word(m, "action", "", "discard", "bypass", "protect") {
	case 1:
		p.Action = spd.Discard
	case 2:
		p.Action = spd.Bypass
	case 3:
		p.Action = spd.Protect
		p.Protection = d.protection(m, n, p, insecure)
		return
	default:
		return // what else there is cannot be judged
	}
	for _, name := range protectionFields {
		if e, given := m[name]; given {
			d.fail(e.key, nil, "%s belongs to action: protect, and the action of %q is %s", name, p.Name, m["action"].value.Value)
		}
	}
}

const (
	maxName = 64
	// maxPolicies is half of what netio takes: while one file follows another, it has the policies of both.
	maxPolicies = 2048
)

func (d *decoder) name(e entry) string {
	text, ok := d.text(e.value, "name")
	if ok && (text == "" || len(text) > maxName || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })) {
		d.fail(e.value, nil, "name %q: want 1 to %d bytes that can be printed", text, maxName)
	}
	return text
}

// selectors reads one side of a policy.
func (d *decoder) selectors(m fields, name string) (all []spd.Selector) {
	e, given := m[name]
	if !given {
		return nil
	}
	nodes := d.list(e)
	for _, n := range nodes {
		text, ok := d.text(n, name)
		if !ok {
			continue
		}
		found, err := spd.ParseSelectors(text)
		if err != nil {
			d.fail(n, err, "%s: %s", name, strings.TrimPrefix(err.Error(), "spd: "))
		}
		all = append(all, found...)
	}
	if len(all) > spd.MaxSelectors {
		d.fail(e.value, nil, "%s has %d selectors: at most %d", name, len(all), spd.MaxSelectors)
	}
	if len(nodes) == 0 && yamldoc.TypeOf(e.value) == yamldoc.List {
		d.fail(e.value, nil, "%s is empty: write [any] for all addresses", name)
	}
	return all
}
