package operator

import (
	"fmt"
	"maps"

	"google.golang.org/protobuf/proto"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/operator/spec"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

func sameLabels(a, b *operatorv1.Metadata) bool { return maps.Equal(a.GetLabels(), b.GetLabels()) }

// completePolicy fills in the defaults, in a copy, and checks the result.
func completePolicy(want *operatorv1.Policy) (*operatorv1.Policy, []string, error) {
	p := proto.CloneOf(want)
	spec.CompletePolicy(p)
	report := spec.CheckPolicy(p)
	return p, report.Warnings, invalid(kindPolicy, p.GetMetadata().GetName(), report)
}

func (d *draft) createPolicy(want *operatorv1.Policy) (*operatorv1.Policy, []string, error) {
	name := want.GetMetadata().GetName()
	if revision, err := d.get(keyPrefix(kindPolicy)+name, &operatorv1.Policy{}); err != nil {
		return nil, nil, err
	} else if revision != 0 {
		return nil, nil, alreadyExists(kindPolicy, name)
	}
	complete, warnings, err := completePolicy(want)
	if err != nil {
		return nil, nil, err
	}
	p := &operatorv1.Policy{Metadata: d.metadata(want.GetMetadata()), Spec: complete.GetSpec()}
	return p, warnings, d.putSpec(kindPolicy, p)
}

func (d *draft) updatePolicy(want *operatorv1.Policy) (before, after *operatorv1.Policy, warnings []string, err error) {
	before = &operatorv1.Policy{}
	revision, err := d.get(keyPrefix(kindPolicy)+want.GetMetadata().GetName(), before)
	if err != nil {
		return nil, nil, nil, err
	}
	if revision == 0 {
		return nil, nil, nil, absent(kindPolicy, want.GetMetadata())
	}
	before.Metadata.Revision = revision
	complete, warnings, err := completePolicy(want)
	if err != nil {
		return nil, nil, nil, err
	}
	after = &operatorv1.Policy{Metadata: relabelled(before.GetMetadata(), want.GetMetadata()), Spec: complete.GetSpec()}
	if sameLabels(before.GetMetadata(), after.GetMetadata()) && proto.Equal(before.GetSpec(), after.GetSpec()) {
		return before, before, warnings, nil
	}
	if err := basedOn(kindPolicy, before.GetMetadata(), want.GetMetadata()); err != nil {
		return nil, nil, nil, err
	}
	return before, after, warnings, d.putSpec(kindPolicy, after)
}

func (d *draft) deletePolicy(name string, revision int64) (*operatorv1.Policy, error) {
	p := &operatorv1.Policy{}
	if err := d.doomed(kindPolicy, name, revision, p); err != nil {
		return nil, err
	}
	d.delete(keyPrefix(kindPolicy)+name, store.StatusPrefix+string(store.KindPolicy)+"/"+name)
	if err := d.intend(world.IntentPolicy, name, p.GetMetadata().GetUid(), intentLife); err != nil {
		return nil, err
	}
	return p, d.event("Policy", name, "PolicyRemoved", false, fmt.Sprintf("policy %s was removed by %s", name, actor(d.ctx)))
}
