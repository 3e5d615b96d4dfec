package operator

import (
	"fmt"
	"strconv"
	"strings"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// associations reads both directions of a generation, in the order of their names.
func (r reader) associations(kv store.KV) ([]*operatorv1.Resource, error) {
	pair, g, err := world.Generation(kv)
	if err != nil {
		return nil, err
	}
	a, b := r.hostName(pair.A()), r.hostName(pair.B())
	policy := ""
	if want, ok := r.world.World.Wanted(pair); ok {
		policy = want.Policy.Name
	}
	ab, ba := association(pair, g, a, b, policy, g.SPIAB), association(pair, g, b, a, policy, g.SPIBA)
	if b < a {
		ab, ba = ba, ab
	}
	return []*operatorv1.Resource{ofSA(ab), ofSA(ba)}, nil
}

// hostName is the name of a host, or its uid when it is gone and nobody remembers it.
func (r reader) hostName(uid plan.UID) string {
	if h, ok := r.world.World.Host(uid); ok {
		if r.names != nil {
			r.names[uid] = h.Name
		}
		return h.Name
	}
	if name, ok := r.names[uid]; ok {
		return name
	}
	return uid.String()
}

func association(pair plan.PairID, g plan.Generation, from, to, policy string, spi uint32) *operatorv1.SecurityAssociation {
	labels := map[string]string{"source": from, "destination": to, "phase": g.Phase.String()}
	if policy != "" {
		labels["policy"] = policy
	}
	return &operatorv1.SecurityAssociation{
		Metadata: &operatorv1.Metadata{
			Name: fmt.Sprintf("%s.%010d.%s", pair, g.Number, from), Labels: labels,
			Revision: g.ModRevision, CreateTime: unix(g.Create),
		},
		Status: &operatorv1.SecurityAssociationStatus{
			Id: g.ID.String(), Source: from, Destination: to, Policy: policy, Spi: spi, Generation: g.Number,
			Phase: g.Phase.String(), Proposal: g.Transform.String(), RekeyTime: unix(g.Soft), HardTime: unix(g.Hard),
		},
	}
}

// associationKey is the key of the generation that an association's name names; false when the name has
// another shape.
func associationKey(name string) (string, bool) {
	pairText, rest, _ := strings.Cut(name, ".")
	number, source, ok := strings.Cut(rest, ".")
	pair, err := store.ParsePairID(pairText)
	if err != nil || !ok || source == "" || len(number) != 10 {
		return "", false
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return "", false
	}
	return store.SAPhaseKey(pair, uint32(n)), true
}
