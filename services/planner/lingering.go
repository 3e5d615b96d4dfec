package planner

import "sallyport.dev/sallyport/services/protocol/plan"

// lingering holds, by host, the pairs that nobody wants but that still have generations: the world says
// nothing of them when the host changes.
type lingering map[plan.UID]map[plan.PairID]struct{}

func (l lingering) add(id plan.PairID) {
	for _, uid := range []plan.UID{id.A(), id.B()} {
		if l[uid] == nil {
			l[uid] = make(map[plan.PairID]struct{})
		}
		l[uid][id] = struct{}{}
	}
}

func (l lingering) remove(id plan.PairID) {
	for _, uid := range []plan.UID{id.A(), id.B()} {
		if delete(l[uid], id); len(l[uid]) == 0 {
			delete(l, uid)
		}
	}
}
