package plan

import "time"

// Gate holds back deletions that no named change of intent explains when they are more than a tenth of
// an agent's generations within an hour: then something is wrong with the store rather than with the
// fleet, and an operator must confirm. The SAs run on meanwhile, to their hard limit at most. The zero
// value is ready for use; a Gate is not safe for concurrent use.
type Gate struct {
	passed map[UID]passage
}

// passage counts what was let through for one agent.
type passage struct {
	since time.Time
	total int // generations of the agent when the hour began
	count int
}

// gateWindow is how long a deletion that passed counts.
const gateWindow = time.Hour

// Pass reports whether unexplained deletions may go on that take away some of the generations of an
// agent, of which it has total now. When it may, they are counted.
func (g *Gate) Pass(agent UID, deletions, total int, now time.Time) bool {
	if !g.Would(agent, deletions, total, now) {
		return false
	}
	if g.passed == nil {
		g.passed = make(map[UID]passage)
	}
	p := g.at(agent, total, now)
	p.count += deletions
	g.passed[agent] = p
	return true
}

// Would is Pass without counting.
func (g *Gate) Would(agent UID, deletions, total int, now time.Time) bool {
	p := g.at(agent, total, now)
	return 10*(p.count+deletions) <= p.total
}

func (g *Gate) at(agent UID, total int, now time.Time) passage {
	p, ok := g.passed[agent]
	if !ok || now.Sub(p.since) >= gateWindow {
		return passage{since: now, total: total}
	}
	return p
}
