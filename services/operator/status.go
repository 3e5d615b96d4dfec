package operator

import (
	"cmp"
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

const (
	defaultMaxPairs = 100
	// planner is how the names of the leaderships of planners begin.
	planner = store.LeaderPrefix + "planner"
)

// about is what never changes of ControllerStatus.
func about(c Config) *operatorv1.ControllerStatus {
	return &operatorv1.ControllerStatus{
		Name: c.Controller, Version: c.Version, StartTime: timestamppb.New(c.Now().UTC().Truncate(time.Second)),
		TrustDomain: c.Fleet.GetTrustDomain(), Incarnation: c.Incarnation,
	}
}

// GetStatus implements AdminService. It answers while etcd is down, from what this process knows.
func (s *Service) GetStatus(ctx context.Context, req *operatorv1.GetStatusRequest) (*operatorv1.GetStatusResponse, error) {
	snapshot := s.view.Snapshot()
	var w warnings
	root, err := s.authority.RootHash()
	w.authority(err)
	resp := &operatorv1.GetStatusResponse{Controller: &operatorv1.ControllerStatus{
		Name: s.about.GetName(), Version: s.about.GetVersion(), StartTime: s.about.GetStartTime(),
		TrustDomain: s.about.GetTrustDomain(), Incarnation: s.about.GetIncarnation(),
		Planner: leader(snapshot, planner), RootHash: rootHash(root, err),
	}}
	w.controller(s.view.Err(), resp.GetController())
	w.delivery(s.halted())
	health, err := s.store.Status(ctx)
	resp.Store = storeStatus(snapshot.Revision(), health)
	resp.Store.Unreachable = err != nil
	w.store(resp.GetStore(), health, err)

	most := int(req.GetMaxPairs())
	if most == 0 {
		most = defaultMaxPairs
	}
	now := s.now()
	s.feed.Read(func(state world.State) {
		count(resp, state)
		resp.Pairs = describe(state, now, most, req.GetAllPairs())
		w.fleet(state, now)
	})
	w.hosts(snapshot, now)
	resp.Warnings = w.lines
	return resp, nil
}

// rootHash is empty when there is no root.
func rootHash(hash [32]byte, err error) string {
	if err != nil {
		return ""
	}
	return hex.EncodeToString(hash[:])
}

// leader is the identity of the oldest candidate, who leads; "" when there is none.
func leader(s *store.Snapshot, prefix string) (identity string) {
	var oldest int64
	s.Range(prefix, func(kv store.KV) bool {
		if oldest == 0 || kv.CreateRevision < oldest {
			oldest, identity = kv.CreateRevision, string(kv.Value)
		}
		return true
	})
	return identity
}

// storeStatus takes the largest member's numbers: the first that stops.
func storeStatus(revision int64, health store.Status) *operatorv1.StoreStatus {
	out := &operatorv1.StoreStatus{Revision: revision}
	for _, e := range health.Endpoints {
		if e.Err == nil && e.Size >= out.GetDbSize() {
			out.DbSize, out.DbSizeInUse, out.Quota = e.Size, e.InUse, e.Quota
		}
	}
	for _, a := range health.Alarms {
		if !slices.Contains(out.GetAlarms(), a.Name) {
			out.Alarms = append(out.Alarms, a.Name)
		}
	}
	return out
}

func count(resp *operatorv1.GetStatusResponse, state world.State) {
	resp.Hosts = uint32(state.World.HostCount())
	for h := range state.World.Hosts() {
		if h.Live {
			resp.HostsConnected++
		}
	}
	resp.PairsWanted, resp.PairsUp = uint64(state.World.PairCount()), uint64(state.PairsUp())
	resp.PairsHeld = uint64(len(state.Held()))
}

// describe shows up to most pairs, those that are not up first. Only hosts with a pair that is not up are
// looked at for those, so that a fleet that is well costs little.
func describe(state world.State, now time.Time, most int, all bool) []*operatorv1.PairStatus {
	out := collect(state, now, most, false, func(h *plan.Host) bool {
		return state.PairsUpOf(h.UID) < state.World.PairCountOf(h.UID)
	})
	if all && len(out) < most {
		out = append(out, collect(state, now, most-len(out), true, func(h *plan.Host) bool {
			return state.PairsUpOf(h.UID) > 0
		})...)
	}
	return out
}

// collect describes up to most pairs that are up, or are not, of the hosts that may have such pairs, in
// the order of their names.
func collect(state world.State, now time.Time, most int, up bool, mayHave func(*plan.Host) bool) []*operatorv1.PairStatus {
	var hosts []*plan.Host
	for h := range state.World.Hosts() {
		if mayHave(h) {
			hosts = append(hosts, h)
		}
	}
	slices.SortFunc(hosts, func(a, b *plan.Host) int { return strings.Compare(a.Name, b.Name) })
	seen := make(map[plan.PairID]struct{})
	var out []*operatorv1.PairStatus
	for _, h := range hosts {
		for pair := range state.World.PairsOf(h.UID) {
			if _, twice := seen[pair]; twice || state.IsUp(pair) != up {
				continue
			}
			if len(out) == most {
				return out
			}
			seen[pair] = struct{}{}
			out = append(out, pairStatus(state, pair, now))
		}
	}
	slices.SortFunc(out, func(a, b *operatorv1.PairStatus) int {
		return cmp.Or(strings.Compare(a.GetHostA(), b.GetHostA()), strings.Compare(a.GetHostB(), b.GetHostB()))
	})
	return out
}

// pairStatus says how one wanted pair is. Of its hosts the one with the smaller name comes first.
func pairStatus(state world.State, pair plan.PairID, now time.Time) *operatorv1.PairStatus {
	s := state.Situation(pair)
	p := &operatorv1.PairStatus{HostA: s.A.Name, HostB: s.B.Name, Policy: s.Policy.Name, Reason: plan.Why(s, now)}
	if p.GetHostB() < p.GetHostA() {
		p.HostA, p.HostB = p.GetHostB(), p.GetHostA()
	}
	p.Up = p.GetReason() == ""
	if n := len(s.Generations); n > 0 {
		p.Generation, p.HardTime = s.Generations[n-1].Number, unix(s.Generations[n-1].Hard)
	}
	if g, ok := s.Up(now); ok {
		p.HardTime = unix(g.Hard)
	}
	return p
}
