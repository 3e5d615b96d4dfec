package planner

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/world"
)

// reportEvery is how often operators are told, at most: one event for a host or policy, however many
// pairs it has.
const reportEvery = time.Minute

// reports gathers what operators should know.
type reports struct {
	next     time.Time
	refused  map[string]incident // by host
	held     map[string]incident // by host
	selected map[string]int64    // policies that were said to select nobody, by the revision of their spec
}

// incident is something that happened to several pairs of a host.
type incident struct {
	count   int
	example string // name of the other host
}

func newReports() *reports {
	return &reports{refused: make(map[string]incident), held: make(map[string]incident), selected: make(map[string]int64)}
}

// take notes the generations that were refused.
func (r *reports) take(s *plan.Situation, changes []plan.Change) {
	for _, c := range changes {
		if c.Kind == plan.Create && c.Cause == plan.Retry {
			add(r.refused, s)
		}
	}
}

// hold notes a pair whose deletion waits.
func (r *reports) hold(s *plan.Situation) { add(r.held, s) }

func add(to map[string]incident, s *plan.Situation) {
	for _, ends := range [][2]*plan.Host{{s.A, s.B}, {s.B, s.A}} {
		if ends[0] == nil {
			continue
		}
		i := to[ends[0].Name]
		i.count++
		if ends[1] != nil {
			i.example = ends[1].Name
		}
		to[ends[0].Name] = i
	}
}

// report writes what has gathered, when it is time.
func (r *reign) report(ctx context.Context, now time.Time) {
	if now.Before(r.reports.next) {
		return
	}
	r.reports.next = now.Add(reportEvery)
	for _, name := range slices.Sorted(maps.Keys(r.reports.refused)) {
		i := r.reports.refused[name]
		r.config.Events.Event(ctx, "Host", name, "PairRefused", true, fmt.Sprintf(
			"agents refused %d new generations of this host's pairs, for example with %s; they are made again; see the events of both hosts for the reasons", i.count, i.example))
	}
	for _, name := range slices.Sorted(maps.Keys(r.reports.held)) {
		i := r.reports.held[name]
		r.config.Events.Event(ctx, "Host", name, "DeletionsHeld", true, fmt.Sprintf(
			"%d pairs of this host are no longer wanted and no change by an operator explains it, for example with %s; their SAs stay until they expire; apply the policy or host that is missing, or confirm with sallyport confirm-deletions --host %s", i.count, i.example, name))
	}
	clear(r.reports.refused)
	clear(r.reports.held)
	for _, p := range r.emptyPolicies() {
		r.config.Events.Event(ctx, "Policy", p, "PolicySelectsNobody", true,
			"the policy wants no pair: its selectors match fewer than two hosts, or one of its sides is empty; see the labels of the hosts (sallyport get hosts -o wide)")
	}
}

// emptyPolicies names those that want no pair and were not reported since they changed.
func (r *reign) emptyPolicies() (names []string) {
	r.config.Feed.Read(func(s world.State) {
		for p := range s.World.Policies() {
			switch reported, ok := r.reports.selected[p.Name]; {
			case !s.World.WantsNone(p.Name):
				delete(r.reports.selected, p.Name)
			case !ok || reported != p.Revision:
				r.reports.selected[p.Name] = p.Revision
				names = append(names, p.Name)
			}
		}
	})
	return names
}
