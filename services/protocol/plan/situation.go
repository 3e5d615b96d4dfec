package plan

import "time"

// Situation is all that a decision about one pair is made from.
type Situation struct {
	ID          PairID
	A, B        *Host   // nil: not of the fleet
	Policy      *Policy // the policy that wants the pair; nil: none does
	Incarnation uint64
	Generations []Generation // all that the store holds, lowest number first
}

// Situation puts together what the world knows of a pair and the generations that were observed. The
// result is valid until the world's next change.
func (w *World) Situation(id PairID, observed []Generation) Situation {
	s := Situation{ID: id, Incarnation: w.Incarnation, Generations: observed}
	if a, ok := w.Host(id.A()); ok {
		s.A = a
	}
	if b, ok := w.Host(id.B()); ok {
		s.B = b
	}
	if want, ok := w.Wanted(id); ok {
		s.Policy = want.Policy
	}
	return s
}

// Up returns the newest generation over which traffic flows both ways.
func (s *Situation) Up(now time.Time) (Generation, bool) {
	t := seconds(now)
	for i := len(s.Generations) - 1; i >= 0; i-- {
		if g := &s.Generations[i]; g.Phase == Established && s.alive(g, t) {
			return *g, true
		}
	}
	return Generation{}, false
}

// end returns one end's host.
func (s *Situation) end(a bool) *Host {
	if a {
		return s.A
	}
	return s.B
}

// bothLive reports whether both agents are connected: only then are generations made.
func (s *Situation) bothLive() bool {
	return s.A != nil && s.A.Live && !s.A.Epoch.IsZero() && s.B != nil && s.B.Live && !s.B.Epoch.IsZero()
}

// lost reports whether the agent that held a generation at one end is no more, and its keys with it.
func (s *Situation) lost(g *Generation, a bool) bool {
	h := s.end(a)
	return h == nil || h.Epoch != g.epoch(a)
}

// current reports whether a generation is for both agents' present lives and of this incarnation.
func (s *Situation) current(g *Generation) bool {
	return !s.lost(g, true) && !s.lost(g, false) && g.Incarnation == s.Incarnation
}

// alive reports whether traffic can flow over a generation, or soon will.
func (s *Situation) alive(g *Generation, now uint32) bool {
	return s.current(g) && g.RefusedBelow == 0 && now < g.Hard && g.Phase <= Established
}

func seconds(t time.Time) uint32 { return uint32(t.Unix()) }
