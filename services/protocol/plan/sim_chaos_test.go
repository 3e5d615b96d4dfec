package plan_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
)

// chaos is what happens to a fleet by chance: 10 sites with a mesh each, hubs that everybody in the first
// sites talks to, and a policy of a higher priority across.
type chaos struct {
	*sim
	backup *simStore
	size   int
}

func newChaos(s *sim, hosts int) *chaos {
	c := &chaos{sim: s, size: hosts}
	for i := range 10 {
		c.setPolicy(meshPolicy(fmt.Sprintf("site-%d", i), fmt.Sprintf("site=%d", i), ""))
	}
	c.setPolicy(meshPolicy("hub", "hub", "site in (0,1,2,3)"))
	strong := meshPolicy("strong", "strong,site!=9", "")
	strong.Priority, strong.Transform = 10, aes128
	c.setPolicy(strong)
	for i := range hosts {
		c.join(i)
	}
	c.backup = c.store.clone()
	c.refusals, c.losses = c.rand.IntN(20), c.rand.IntN(50)
	return c
}

func (c *chaos) labels(i int) map[string]string {
	labels := map[string]string{"site": fmt.Sprint(i % 10)}
	if i == 0 {
		labels["hub"] = ""
	}
	if c.rand.IntN(8) == 0 {
		labels["strong"] = "yes"
	}
	return labels
}

func (c *chaos) join(i int) { c.startAgent(c.addHost(c.labels(i))) }

// run makes n moves.
func (c *chaos) run(n int) {
	crash := func() bool { return c.rand.IntN(500) == 0 }
	for range n {
		i := c.rand.IntN(1 << 20)
		switch luck := c.rand.IntN(1000); {
		case luck < 8:
			c.event()
		case luck < 20:
			c.advance(time.Duration(1+c.rand.IntN(8)) * time.Second)
		case luck < 300:
			c.planner.catchUp(1 + c.rand.IntN(20))
		case luck < 500:
			c.stepPlanner(i, crash)
		case luck < 650:
			c.stepFleet(i)
		case luck < 825:
			c.stepAgent(i)
		default:
			c.stepReply(i)
		}
	}
}

// event is something that an operator, a host or fate does.
func (c *chaos) event() {
	uids := c.order
	uid := uids[c.rand.IntN(len(uids))]
	_, member := c.store.hosts[uid]
	switch c.rand.IntN(14) {
	case 0:
		if len(c.store.hosts) < c.size+5 {
			c.join(c.rand.IntN(c.size))
		}
	case 1:
		if member && len(c.store.hosts) > c.size/2 {
			c.removeHost(uid)
		}
	case 2, 3:
		c.startAgent(uid)
	case 4, 5:
		c.disconnect(c.agents[uid])
	case 6, 7:
		if !c.agents[uid].connected {
			c.connect(c.agents[uid])
		}
	case 8:
		if member {
			c.relabel(uid, c.labels(c.rand.IntN(c.size)))
		}
	case 9:
		c.changePolicy()
	case 10:
		c.expireSoft()
	case 11:
		c.planner = c.newPlanner()
	case 12:
		c.backup = c.store.clone()
	case 13:
		if c.rand.IntN(4) == 0 {
			c.restore(c.backup)
		}
	}
}

func (c *chaos) changePolicy() {
	names := sorted(c.store.policies)
	q := c.store.policies[names[c.rand.IntN(len(names))]]
	switch c.rand.IntN(4) {
	case 0:
		q.Transform = map[plan.Transform]plan.Transform{aes128: aes256, aes256: aes128}[q.Transform]
		c.setPolicy(q)
	case 1:
		q.RekeyBefore = c.now.Add(time.Duration(c.rand.IntN(5)) * time.Second / 2)
		c.setPolicy(q)
	case 2:
		q.Priority = int32(c.rand.IntN(20))
		c.setPolicy(q)
	case 3:
		c.removePolicy(q.Name)
		if c.rand.IntN(2) == 0 {
			c.setPolicy(q)
		}
	}
}

// expireSoft is an agent's word that a byte limit is crossed.
func (c *chaos) expireSoft() {
	ids := slices.SortedFunc(maps.Keys(c.store.pairs), func(x, y plan.PairID) int { return slices.Compare(x[:], y[:]) })
	if len(ids) == 0 {
		return
	}
	id := ids[c.rand.IntN(len(ids))]
	gens := c.store.pairs[id]
	if g := gens[len(gens)-1]; g.Phase == plan.Established {
		g.Soft = c.seconds()
		c.store.update(id, g)
	}
}
