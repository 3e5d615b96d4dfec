package plan_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
)

// sim is a whole fleet in one goroutine: a store, a planner, the fleet service, agents and a clock. What
// is under way between them waits in queues, from which chance takes.
//
//	planner ──commit──▶ store ──log──▶ planner
//	                      │ deliveries
//	                      ▼
//	                    fleet ──inbox──▶ agents ──replies──▶ fleet ──▶ store
type sim struct {
	rand       *rand.Rand
	now        time.Time
	store      *simStore
	planner    *simPlanner
	agents     map[plan.UID]*simAgent
	order      []plan.UID // of the agents: oldest host first
	names      map[plan.UID]string
	deliveries []delivery
	delivering map[delivery]bool
	replies    []reply
	refusals   int // in a thousand installations, for no reason
	losses     int // in a thousand replies
	serial     uint64
	hosts      int
	conflicts  int
	checks     checks
}

func newSim(seed uint64) *sim {
	s := &sim{
		rand: rand.New(rand.NewPCG(seed, 1)), now: simStart, agents: make(map[plan.UID]*simAgent),
		names: make(map[plan.UID]string), delivering: make(map[delivery]bool), checks: newChecks(),
		store: &simStore{
			incarnation: 1, hosts: make(map[plan.UID]hostRecord), policies: make(map[string]plan.Policy),
			pairs: make(map[plan.PairID][]plan.Generation),
		},
	}
	s.planner = s.newPlanner()
	return s
}

func (s *sim) seconds() uint32 { return uint32(s.now.Unix()) }

// addHost makes a host resource; its agent is not started.
func (s *sim) addHost(labels map[string]string) plan.UID {
	var uid plan.UID
	s.hosts++
	binary.BigEndian.PutUint32(uid[:4], s.rand.Uint32())
	binary.BigEndian.PutUint32(uid[4:], uint32(s.hosts))
	return s.addHostAs(uid, fmt.Sprintf("h%d", s.hosts), labels)
}

func (s *sim) addHostAs(uid plan.UID, name string, labels map[string]string) plan.UID {
	s.names[uid] = name
	s.store.revision++
	s.store.setHost(uid, hostRecord{name: name, labels: labels, revision: s.store.revision})
	s.intentOf(uid, sorted(s.store.hosts))
	return uid
}

func (s *sim) relabel(uid plan.UID, labels map[string]string) {
	s.store.revision++
	r := s.store.hosts[uid]
	r.labels, r.revision = labels, s.store.revision
	s.store.setHost(uid, r)
	s.intentOf(uid, sorted(s.store.hosts))
}

func (s *sim) removeHost(uid plan.UID) {
	s.store.removeHost(uid)
	s.intentGone()
	if a := s.agents[uid]; a != nil && a.connected {
		s.wipe(a)
	}
}

func (s *sim) setPolicy(q plan.Policy) {
	s.store.setPolicy(q)
	s.intentChanged()
}

func (s *sim) removePolicy(name string) {
	s.store.removePolicy(name)
	s.intentChanged()
}

// startAgent begins a new life of a host's agent: its memory is gone.
func (s *sim) startAgent(uid plan.UID) {
	if a := s.agents[uid]; a != nil {
		s.wipe(a)
	} else {
		s.order = append(s.order, uid)
	}
	s.agents[uid] = newSimAgent(uid, s.newEpoch())
	s.connect(s.agents[uid])
}

func (s *sim) newEpoch() plan.Epoch {
	s.serial++
	return id128(s.serial)
}

// restore puts a backup back: a new incarnation, every process of the controller starts anew.
func (s *sim) restore(backup *simStore) {
	revision, incarnation, leader := s.store.revision, s.store.incarnation, s.store.leader
	s.store = backup.clone()
	s.store.revision, s.store.incarnation, s.store.leader = revision+1, incarnation+1, leader
	for uid, r := range s.store.hosts {
		r.live = false
		s.store.hosts[uid] = r
	}
	s.intentChanged()
	s.planner = s.newPlanner()
	s.replies, s.deliveries = nil, nil
	clear(s.delivering)
	for _, uid := range s.order {
		s.agents[uid].connected = false
		s.connect(s.agents[uid])
	}
}

// advance moves the clock; agents delete what is past its hard limit.
func (s *sim) advance(d time.Duration) {
	s.now = s.now.Add(d)
	for _, uid := range s.order {
		for _, pair := range s.agents[uid].expire(s.seconds()) {
			s.forgetUp(pair)
		}
	}
	s.planner.tick()
}

// The single moves. Each does a part of the work that waits, and false when there is none.

func (s *sim) stepPlanner(i int, crash func() bool) bool {
	if len(s.planner.dirty) == 0 {
		return false
	}
	t := s.planner.decide(i % len(s.planner.dirty))
	if crash() {
		s.planner = s.newPlanner() // before the commit
		return true
	}
	s.planner.commit(t)
	if crash() {
		s.planner = s.newPlanner() // after it, but nobody knows
	}
	return true
}

func (s *sim) stepFleet(i int) bool {
	if len(s.deliveries) == 0 {
		return false
	}
	i %= len(s.deliveries)
	d := s.deliveries[i]
	s.deliveries = slices.Delete(s.deliveries, i, i+1)
	delete(s.delivering, d)
	s.send(d)
	return true
}

func (s *sim) stepAgent(i int) bool {
	a := s.busyAgent(i)
	if a == nil {
		return false
	}
	m := a.inbox[0]
	a.inbox = a.inbox[1:]
	if _, have := a.holds[half{m.id, m.out}]; m.verb == install && !have && s.rand.IntN(1000) < s.refusals {
		s.replies = append(s.replies, reply{message: m, uid: a.uid, refused: true})
		return true
	}
	r := a.handle(m)
	s.checkDelivery(a, r)
	s.replies = append(s.replies, r)
	return true
}

// busyAgent is the first agent with mail, from the i-th on.
func (s *sim) busyAgent(i int) *simAgent {
	for n := range s.order {
		if a := s.agents[s.order[(i+n)%len(s.order)]]; len(a.inbox) > 0 {
			return a
		}
	}
	return nil
}

// stepReply takes one reply to the store; chance loses it, or brings it twice.
func (s *sim) stepReply(i int) bool {
	if len(s.replies) == 0 {
		return false
	}
	i %= len(s.replies)
	r := s.replies[i]
	switch luck := s.rand.IntN(1000); {
	case luck < s.losses:
		s.replies = slices.Delete(s.replies, i, i+1)
		if a := s.agents[r.uid]; a.epoch == r.epoch { // the next stream finds what is missing
			delete(a.sent, r.message)
			s.deliver(delivery{r.uid, r.pair})
		}
		return true
	case luck >= 2*s.losses:
		s.replies = slices.Delete(s.replies, i, i+1)
	}
	s.receive(r)
	return true
}

// settle works everything off until only time can change something.
func (s *sim) settle() {
	never := func() bool { return false }
	for s.planner.catchUp(len(s.store.log)); ; s.planner.catchUp(len(s.store.log)) {
		if !s.stepPlanner(0, never) && !s.stepFleet(0) && !s.stepAgent(0) && !s.stepReply(0) {
			return
		}
	}
}

// finish lets the fleet come to rest: nothing fails any more, every agent is connected, and the clock runs
// on over drains and back-offs. Only after a restore agents may hold what the store has never heard of:
// then the clock runs past every hard limit.
func (s *sim) finish() {
	s.refusals, s.losses = 0, 0
	for _, name := range sorted(s.store.policies) {
		q := s.store.policies[name]
		q.Lifetime.Rekey, q.Lifetime.Hard = 24*time.Hour, 48*time.Hour
		s.setPolicy(q)
	}
	for _, uid := range s.order {
		if a := s.agents[uid]; !a.connected {
			s.connect(a)
		}
	}
	rest := simRekey + 6*time.Minute
	if s.store.incarnation > 1 {
		rest += simHard
	}
	for end := s.now.Add(rest); ; {
		s.settle()
		next := s.planner.nextDeadline()
		if next.IsZero() || next.After(end) {
			break
		}
		s.advance(max(next.Sub(s.now), time.Second))
	}
	if s.store.incarnation > 1 {
		s.advance(simHard)
		s.settle()
	}
	s.checkConverged()
}

// newSPI is from a small range, so that clashes come by themselves.
func (s *sim) newSPI() uint32 { return 1<<24 + s.rand.Uint32N(1<<14) }

func (s *sim) name(uid plan.UID) string { return s.names[uid] }

func (s *sim) pairName(id plan.PairID) string { return s.name(id.A()) + "–" + s.name(id.B()) }

func simAddr(uid plan.UID) netip.Addr {
	return netip.AddrFrom4([4]byte{192, 0, uid[6], uid[7]})
}

const (
	simRekey = 2 * time.Minute
	simHard  = time.Hour
)

var simLifetime = plan.Lifetime{Rekey: simRekey, Hard: simHard}

var (
	aes128 = plan.Transform{ID: 20, KeyBits: 128, ESN: true}
	aes256 = plan.Transform{ID: 20, KeyBits: 256, ESN: true}
)

func selector(text string) plan.Selector {
	if text == "" {
		return plan.Selector{}
	}
	s, err := plan.ParseSelector(text)
	if err != nil {
		panic(err)
	}
	return s
}

func meshPolicy(name, hosts, to string) plan.Policy {
	return plan.Policy{Name: name, Hosts: selector(hosts), To: selector(to), Transform: aes256, Lifetime: simLifetime}
}

// sorted returns the keys of a map in order, so that a seed always tells the same story.
func sorted[K comparable, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y K) int { return compare(x, y) })
	return keys
}

func compare[K comparable](x, y K) int {
	switch x := any(x).(type) {
	case plan.UID:
		y := any(y).(plan.UID)
		return bytes.Compare(x[:], y[:])
	case plan.PairID:
		y := any(y).(plan.PairID)
		return bytes.Compare(x[:], y[:])
	case string:
		return strings.Compare(x, any(y).(string))
	}
	panic("no order")
}
