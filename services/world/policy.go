package world

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// Policy reads the policy called name out of spec/policy and status/policy. It returns false when there
// is no such policy, and an error when a record cannot be read.
func Policy(s *store.Snapshot, name string) (plan.Policy, bool, error) {
	var spec operatorv1.Policy
	kv, found, err := record(s, store.SpecPrefix+string(store.KindPolicy)+"/"+name, &spec)
	if err != nil || !found {
		return plan.Policy{}, false, err
	}
	var status operatorv1.PolicyStatus
	if _, _, err := record(s, store.StatusPrefix+string(store.KindPolicy)+"/"+name, &status); err != nil {
		return plan.Policy{}, false, err
	}
	p, err := policy(name, spec.GetSpec())
	if err != nil {
		return plan.Policy{}, false, fmt.Errorf("%s: %w", kv.Key, err)
	}
	p.Revision, p.RekeyBefore = kv.ModRevision, instant(status.GetRekeyBefore())
	return p, true, nil
}

// NewPolicy is the plan's form of a complete spec that is not stored yet, to see what it would select.
func NewPolicy(p *operatorv1.Policy) (plan.Policy, error) {
	return policy(p.GetMetadata().GetName(), p.GetSpec())
}

func policy(name string, spec *operatorv1.PolicySpec) (p plan.Policy, err error) {
	p = plan.Policy{Name: name, Priority: spec.GetPriority(), Lifetime: lifetime(spec.GetLifetime())}
	if p.Hosts, err = plan.ParseSelector(spec.GetHosts()); err != nil {
		return plan.Policy{}, err
	}
	if spec.GetTo() != "" {
		if p.To, err = plan.ParseSelector(spec.GetTo()); err != nil {
			return plan.Policy{}, err
		}
	}
	p.Transform, err = plan.ParseTransform(spec.GetProposal(), spec.GetInsecure())
	return p, err
}

func lifetime(l *operatorv1.PolicyLifetime) plan.Lifetime {
	return plan.Lifetime{
		Rekey: seconds(l.GetRekeyTime()), Hard: seconds(l.GetHardTime()),
		RekeyBytes: l.GetRekeyBytes(), HardBytes: l.GetHardBytes(),
		RekeyPackets: l.GetRekeyPackets(), HardPackets: l.GetHardPackets(),
	}
}

// seconds rounds down: records count whole seconds.
func seconds(d *durationpb.Duration) time.Duration { return d.AsDuration().Truncate(time.Second) }
