package operator

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/operator/spec"
	"sallyport.dev/sallyport/services/store"
)

// application is one Apply: the request, and the results as they were decided last.
type application struct {
	resources []*operatorv1.Resource
	named     map[resourceName]int // index in resources
	dryRun    bool
	prune     filter // nil: nothing
	results   []*operatorv1.ApplyResponse_Result
}

type resourceName struct {
	kind operatorv1.Kind
	name string
}

// parseApply refuses what no store could change: kinds, names, duplicates, the selector.
func parseApply(req *operatorv1.ApplyRequest) (*application, error) {
	a := &application{resources: req.GetResources(), dryRun: req.GetDryRun(), named: make(map[resourceName]int)}
	if req.GetPrune() {
		if req.GetPruneSelector() == "" {
			return nil, invalidField("prune_selector", `is required with prune: only what it selects is deleted; "*" selects everything`)
		}
		var err error
		if a.prune, err = parseFilter("prune_selector", req.GetPruneSelector()); err != nil {
			return nil, err
		}
	} else if req.GetPruneSelector() != "" {
		return nil, invalidField("prune_selector", "does nothing without prune")
	}
	for i, r := range a.resources {
		k, md := kindOf(r)
		if k == kindToken {
			return nil, invalidField(fmt.Sprintf("resources[%d]", i), "a JoinToken cannot be applied, since its secret is shown only once: use sallyport join-token create")
		}
		if err := writable(k, md, false); err != nil {
			return nil, err
		}
		n := resourceName{k, md.GetName()}
		if first, twice := a.named[n]; twice {
			return nil, invalidField(fmt.Sprintf("resources[%d].%s.metadata.name", i, fieldOf(k)),
				"%s %q is resources[%d] already: keep one of them", kindName(k), n.name, first)
		}
		a.named[n] = i
	}
	return a, nil
}

// response is the answer. A long one leaves out what nobody looks at.
func (a *application) response() *operatorv1.ApplyResponse {
	if len(a.results) > maxAtOnce {
		for _, r := range a.results {
			if !a.dryRun || r.GetAction() == operatorv1.ApplyAction_APPLY_ACTION_UNCHANGED {
				r.Before, r.After = nil, nil
			}
		}
	}
	return &operatorv1.ApplyResponse{Results: a.results}
}

// written gives a result the revision of the transaction that wrote it.
func (a *application) written(r *operatorv1.ApplyResponse_Result, revision int64) {
	changed := r.GetAction() == operatorv1.ApplyAction_APPLY_ACTION_CREATED || r.GetAction() == operatorv1.ApplyAction_APPLY_ACTION_UPDATED
	if _, md := kindOf(r.GetAfter()); changed && md != nil && revision != 0 {
		md.Revision = revision
	}
}

// apply decides everything: first all checks, then all writes.
func (d *draft) apply(a *application) error {
	pruned := d.pruned(a)
	if err := d.checkAll(a, pruned); err != nil {
		return err
	}
	a.results = make([]*operatorv1.ApplyResponse_Result, 0, len(a.resources)+len(pruned))
	for _, r := range a.resources {
		result, err := d.upsert(r)
		if err != nil {
			return err
		}
		a.results = append(a.results, result)
	}
	d.warn(a, pruned)
	for _, n := range pruned {
		gone, err := d.remove(n.kind, n.name, 0)
		if err != nil {
			return err
		}
		a.results = append(a.results, &operatorv1.ApplyResponse_Result{
			Kind: n.kind, Name: n.name, Action: operatorv1.ApplyAction_APPLY_ACTION_DELETED, Before: gone,
		})
	}
	return nil
}

// upsert creates or replaces one resource.
func (d *draft) upsert(r *operatorv1.Resource) (*operatorv1.ApplyResponse_Result, error) {
	k, md := kindOf(r)
	result := &operatorv1.ApplyResponse_Result{Kind: k, Name: md.GetName()}
	var err error
	if _, exists := d.snapshot.Get(keyPrefix(k) + md.GetName()); !exists {
		if md.GetRevision() != 0 {
			return nil, revisionConflict(k, md.GetName(), md.GetRevision(), 0)
		}
		result.Action = operatorv1.ApplyAction_APPLY_ACTION_CREATED
		result.After, result.Warnings, err = d.create(k, r)
		return result, err
	}
	result.Before, result.After, result.Warnings, err = d.update(k, r)
	if err != nil {
		return nil, err
	}
	result.Action = operatorv1.ApplyAction_APPLY_ACTION_UPDATED
	if result.Before == result.After {
		result.Action = operatorv1.ApplyAction_APPLY_ACTION_UNCHANGED
	} else {
		result.After = proto.CloneOf(result.After)
	}
	return result, nil
}

// pruned finds what the prune selector selects and the request does not name, sorted.
func (d *draft) pruned(a *application) (out []resourceName) {
	if a.prune == nil {
		return nil
	}
	for _, k := range []operatorv1.Kind{kindHost, kindPolicy, kindManual, kindPeer, kindCredential} {
		d.snapshot.Range(keyPrefix(k), func(kv store.KV) bool {
			md := metadataIn(k, kv)
			n := resourceName{k, md.GetName()}
			if _, kept := a.named[n]; md != nil && !kept && a.prune(md) {
				out = append(out, n)
			}
			return true
		})
	}
	return out
}

// metadataIn reads a spec's metadata; nil when it cannot be read.
func metadataIn(k operatorv1.Kind, kv store.KV) *operatorv1.Metadata {
	switch k {
	case kindHost:
		var h operatorv1.Host
		if store.Decode(kv, &h) != nil {
			return nil
		}
		return h.GetMetadata()
	case kindManual:
		var p operatorv1.ManualPeer
		if store.Decode(kv, &p) != nil {
			return nil
		}
		return p.GetMetadata()
	case kindPeer:
		var p operatorv1.Peer
		if store.Decode(kv, &p) != nil {
			return nil
		}
		return p.GetMetadata()
	case kindCredential:
		var c operatorv1.Credential
		if store.Decode(kv, &c) != nil {
			return nil
		}
		return c.GetMetadata()
	}
	var p operatorv1.Policy
	if store.Decode(kv, &p) != nil {
		return nil
	}
	return p.GetMetadata()
}

// checkAll checks every resource, also against each other and against what remains of the fleet, and
// reports all that is wrong at once.
func (d *draft) checkAll(a *application, pruned []resourceName) error {
	others, err := d.remaining(a, pruned)
	if err != nil {
		return err
	}
	d.planManual(a, pruned)
	var bad []fault.Field
	for i, r := range a.resources {
		k, md := kindOf(r)
		report, err := d.checkOne(r, others)
		if err != nil {
			return err
		}
		for _, p := range report.Problems {
			bad = append(bad, fault.Field{
				Name:        fmt.Sprintf("resources[%d].%s.%s", i, fieldOf(k), p.Field),
				Description: fmt.Sprintf("%s %q: %s", kindName(k), md.GetName(), p.Text),
			})
		}
	}
	if len(bad) == 0 {
		if d.claims != nil {
			d.claims.subnets = others // as they will be
		}
		return nil
	}
	f := fault.Newf(fault.InvalidArgument, "%s; nothing was written", wrongFields(len(bad))).WithReason(ReasonInvalid)
	for _, b := range bad[:min(len(bad), maxFields)] {
		f = f.WithField(b.Name, b.Description)
	}
	return f
}

func wrongFields(n int) string {
	if n == 1 {
		return "1 field is not valid"
	}
	return fmt.Sprintf("%d fields are not valid", n)
}

// maxFields bounds an error.
const maxFields = 32

// planManual forgets the manual peers that the request changes, so that they may exchange SPIs and keys, and
// notes what else resources of the request may be about.
func (d *draft) planManual(a *application, pruned []resourceName) {
	d.manual, d.newHosts = make(map[string]*operatorv1.ManualPeer), make(map[string]bool)
	d.newCredentials, d.gonePeers = make(map[string]bool), make(map[string]bool)
	for _, r := range a.resources {
		switch k, md := kindOf(r); k {
		case kindManual:
			d.manual[md.GetName()] = nil
		case kindHost:
			d.newHosts[md.GetName()] = true
		case kindCredential:
			d.newCredentials[md.GetName()] = true
		}
	}
	for _, n := range pruned {
		switch n.kind {
		case kindManual:
			d.manual[n.name] = nil
		case kindPeer:
			d.gonePeers[n.name] = true
		}
	}
}

func (d *draft) checkOne(r *operatorv1.Resource, others *spec.Subnets) (spec.Report, error) {
	if h := r.GetHost(); h != nil {
		subnets, report := spec.CheckHost(h, d.service.pools)
		overlaps := spec.CheckOverlap(h, others)
		report.Problems = append(report.Problems, overlaps.Problems...)
		if len(report.Problems) == 0 {
			others.Add(h.GetMetadata().GetName(), subnets)
		}
		return report, nil
	}
	if p := r.GetManualPeer(); p != nil {
		w, err := d.prepareManual(p)
		defer w.keys.Clear()
		d.manual[p.GetMetadata().GetName()] = w.after
		return w.report, err
	}
	if p := r.GetPeer(); p != nil {
		_, report := d.preparePeer(p)
		return report, nil
	}
	if c := r.GetCredential(); c != nil {
		w, err := d.prepareCredential(c)
		clear(w.secret)
		return w.report, err
	}
	p := proto.CloneOf(r.GetPolicy())
	spec.CompletePolicy(p)
	return spec.CheckPolicy(p), nil
}

// remaining is the subnets of the hosts that neither the request names nor prune deletes, so that hosts
// may exchange subnets.
func (d *draft) remaining(a *application, pruned []resourceName) (*spec.Subnets, error) {
	touched := func(name string) bool {
		n := resourceName{kindHost, name}
		_, named := a.named[n]
		return named || slices.Contains(pruned, n)
	}
	if !slices.ContainsFunc(a.resources, func(r *operatorv1.Resource) bool { return r.GetHost() != nil }) {
		return &spec.Subnets{}, nil
	}
	c, err := d.claim()
	if err != nil {
		return nil, err
	}
	others := c.subnets.Clone()
	others.RemoveAll(touched)
	return others, nil
}
