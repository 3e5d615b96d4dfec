package plan_test

import (
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
)

// simStore is the model of etcd: records, a revision, and what watchers have to be told. Values are
// replaced, never written, so that a backup and a watcher may keep them.
type simStore struct {
	revision    int64
	incarnation uint64
	leader      int // fencing token: only this planner may write
	hosts       map[plan.UID]hostRecord
	policies    map[string]plan.Policy
	pairs       map[plan.PairID][]plan.Generation
	log         []func(*simPlanner) // what a watch delivers, in order
}

// hostRecord is all of one host: spec, epoch and live.
type hostRecord struct {
	name     string
	labels   map[string]string
	revision int64
	epoch    plan.Epoch
	epochRev int64
	live     bool
}

func (s *simStore) clone() *simStore {
	c := *s
	c.hosts, c.policies, c.pairs, c.log = maps.Clone(s.hosts), maps.Clone(s.policies), maps.Clone(s.pairs), nil
	return &c
}

func (r hostRecord) host(uid plan.UID) plan.Host {
	return plan.Host{
		UID: uid, Name: r.name, Revision: r.revision, Labels: r.labels,
		Observed: simAddr(uid), Epoch: r.epoch, Live: r.live,
	}
}

func (s *simStore) setHost(uid plan.UID, r hostRecord) {
	s.hosts[uid] = r
	s.log = append(s.log, func(p *simPlanner) {
		p.epochRev[uid] = r.epochRev
		p.touch(p.world.SetHost(r.host(uid)))
		p.hostChanged(uid)
	})
}

func (s *simStore) removeHost(uid plan.UID) {
	s.revision++
	rev := s.revision
	delete(s.hosts, uid)
	s.log = append(s.log, func(p *simPlanner) {
		p.touch(p.world.RemoveHost(uid, rev))
		delete(p.epochRev, uid)
		p.hostChanged(uid)
	})
}

func (s *simStore) setPolicy(q plan.Policy) {
	s.revision++
	q.Revision = s.revision
	s.policies[q.Name] = q
	s.log = append(s.log, func(p *simPlanner) { p.touch(p.world.SetPolicy(q)) })
}

func (s *simStore) removePolicy(name string) {
	s.revision++
	rev := s.revision
	delete(s.policies, name)
	s.log = append(s.log, func(p *simPlanner) { p.touch(p.world.RemovePolicy(name, rev)) })
}

// setPair replaces the records of one pair.
func (s *simStore) setPair(id plan.PairID, gens []plan.Generation) {
	if len(gens) == 0 {
		delete(s.pairs, id)
	} else {
		s.pairs[id] = gens
	}
	s.log = append(s.log, func(p *simPlanner) {
		p.pairs[id] = gens
		p.mark(id)
	})
}

// find returns a generation of a pair.
func (s *simStore) find(id plan.PairID, number uint32) (plan.Generation, bool) {
	i := slices.IndexFunc(s.pairs[id], func(g plan.Generation) bool { return g.Number == number })
	if i < 0 {
		return plan.Generation{}, false
	}
	return s.pairs[id][i], true
}

// update rewrites one generation's record, as the fleet service does for an ack or a nack.
func (s *simStore) update(id plan.PairID, g plan.Generation) {
	s.revision++
	g.ModRevision = s.revision
	gens := slices.Clone(s.pairs[id])
	i := slices.IndexFunc(gens, func(h plan.Generation) bool { return h.Number == g.Number })
	gens[i] = g
	s.setPair(id, gens)
}

// commit is a planner's transaction: all of its compares, then all of its changes.
func (s *simStore) commit(t simTxn) bool {
	if s.leader != t.token {
		return false
	}
	for uid, rev := range t.epochs {
		if s.hosts[uid].epochRev != rev {
			return false
		}
	}
	if t.policy != "" && s.policies[t.policy].Revision != t.policyRev {
		return false
	}
	for _, c := range t.changes {
		have, found := s.find(t.pair, c.Generation.Number)
		if found != (c.Kind != plan.Create) || found && have.ModRevision != c.Generation.ModRevision {
			return false
		}
	}
	s.revision++
	gens := slices.Clone(s.pairs[t.pair])
	for _, c := range t.changes {
		gens = s.apply(gens, c)
	}
	s.setPair(t.pair, gens)
	return true
}

func (s *simStore) apply(gens []plan.Generation, c plan.Change) []plan.Generation {
	g := c.Generation
	g.ModRevision = s.revision
	i := slices.IndexFunc(gens, func(h plan.Generation) bool { return h.Number == g.Number })
	switch c.Kind {
	case plan.Create:
		g.CreateRevision = s.revision
		return append(gens, g)
	case plan.Advance:
		gens[i] = g
		return gens
	}
	return slices.Delete(gens, i, i+1)
}

// simTxn is what a planner wants to write about one pair, and what it was decided from.
type simTxn struct {
	token     int
	pair      plan.PairID
	epochs    map[plan.UID]int64
	policy    string
	policyRev int64
	changes   []plan.Change
}

// id128 is a name that is never used twice: a counter.
func id128(n uint64) (id [16]byte) {
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

var simStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
