package operator

import (
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/operator/spec"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/world"
)

// warn adds to each policy of an Apply what is odd about the hosts that it will select.
func (d *draft) warn(a *application, pruned []resourceName) {
	var hosts map[string]map[string]string
	for i, r := range a.resources {
		p := r.GetPolicy()
		if p == nil {
			continue
		}
		if hosts == nil {
			hosts = d.labels(a, pruned)
		}
		from, to, together := selects(p.GetSpec(), hosts)
		a.results[i].Warnings = append(a.results[i].Warnings, spec.SelectionWarnings(p, from, to, together)...)
	}
}

// labels are those of all hosts, by name, as they will be.
func (d *draft) labels(a *application, pruned []resourceName) map[string]map[string]string {
	hosts := make(map[string]map[string]string)
	d.service.feed.Read(func(state world.State) {
		for h := range state.World.Hosts() {
			hosts[h.Name] = h.Labels
		}
	})
	for _, n := range pruned {
		if n.kind == kindHost {
			delete(hosts, n.name)
		}
	}
	for _, r := range a.resources {
		if h := r.GetHost(); h != nil {
			hosts[h.GetMetadata().GetName()] = h.GetMetadata().GetLabels()
		}
	}
	return hosts
}

// selects counts hosts on both sides of a checked policy.
func selects(p *operatorv1.PolicySpec, hosts map[string]map[string]string) (from, to, together int) {
	side := func(text string) plan.Selector {
		s, err := plan.ParseSelector(text)
		if err != nil {
			return plan.Selector{} // the empty `to` of a mesh: selects nothing
		}
		return s
	}
	fromSide, toSide := side(p.GetHosts()), side(p.GetTo())
	for _, labels := range hosts {
		f, t := fromSide.Matches(labels), toSide.Matches(labels)
		if f {
			from++
		}
		if t {
			to++
		}
		if f || t {
			together++
		}
	}
	return from, to, together
}
