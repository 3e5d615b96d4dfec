//go:build linux

package main

import "slices"

// selector is what --figures calls it.
func (w wanted) selector() string {
	if w.name != "" {
		return w.name
	}
	return w.tag
}

// label is the figure's name in its line: "2b (8 streams)".
func (w wanted) label() string {
	if w.name == "" || w.tag == "" {
		return w.name
	}
	return w.name + " (" + w.tag + ")"
}

// names are all that --figures takes, in the plan's order.
func names() []string {
	var all []string
	add := func(w wanted) {
		if !slices.Contains(all, w.selector()) {
			all = append(all, w.selector())
		}
	}
	for _, m := range plan() {
		for _, w := range m.figures {
			add(w)
		}
	}
	for _, f := range inMemoryPlan() {
		add(f.wanted)
	}
	return all
}
