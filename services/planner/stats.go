package planner

// Stats counts what a planner has done since it was made, and shows how it stands.
type Stats struct {
	Leading   bool
	Queued    int // pairs to look at now
	Scheduled int // pairs to look at later
	Held      int // pairs whose deletion waits for confirmation

	Steps        uint64 // pairs looked at
	Created      uint64 // generations made
	Advanced     uint64 // phases advanced, tombstones among them
	Forgotten    uint64 // generations forgotten
	Refused      uint64 // generations withdrawn because an agent refused them
	Transactions uint64 // transactions committed
	Conflicts    uint64 // transactions that something had changed under
	Failures     uint64 // transactions with an unknown outcome, and other errors
}

// retired is what stays of the numbers when the leadership ends.
func (s Stats) retired() Stats {
	s.Leading, s.Queued, s.Scheduled, s.Held = false, 0, 0, 0
	return s
}

// Stats returns the numbers as they are now. It may be called at any time.
func (p *Planner) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

func (p *Planner) note(change func(*Stats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.stats)
}
