package plan

import (
	"fmt"
	"strings"
	"time"
)

// Why says why a pair is not up and what to do, in words for an operator; "" when it is up.
func Why(s Situation, now time.Time) string {
	if _, up := s.Up(now); up {
		return ""
	}
	if s.Policy == nil {
		return "no policy wants this pair"
	}
	var reasons []string
	for _, h := range []*Host{s.A, s.B} {
		if r := whyAbsent(h); r != "" {
			reasons = append(reasons, r)
		}
	}
	if len(reasons) > 0 {
		return strings.Join(reasons, "; ")
	}
	return s.whyNot(now)
}

// whyAbsent says why no key can be given to a host now.
func whyAbsent(h *Host) string {
	switch {
	case h.Epoch.IsZero():
		return fmt.Sprintf("host %s has never connected; start sallyport-agent there with a join token (sallyport join-token create)", h.Name)
	case !h.Live && h.Since.IsZero():
		return fmt.Sprintf("host %s is not connected; see that sallyport-agent runs there and reaches the controller", h.Name)
	case !h.Live:
		return fmt.Sprintf("host %s has not been connected since %s; see that sallyport-agent runs there and reaches the controller",
			h.Name, h.Since.UTC().Format(time.RFC3339))
	}
	return ""
}

// whyNot is Why when both hosts are connected.
func (s *Situation) whyNot(now time.Time) string {
	t := seconds(now)
	if n := len(s.Generations); n > 0 {
		g := &s.Generations[n-1]
		switch {
		case !s.current(g):
		case g.RefusedBelow != 0:
			return s.whyRefused(g, now)
		case g.Phase == Inbound && s.alive(g, t):
			return s.waitingFor(g, "inbound", InA, InB)
		case g.Phase == Outbound && s.alive(g, t):
			return s.waitingFor(g, "outbound", OutA, OutB)
		}
	}
	if _, err := PathOf(s.A, s.B); err != nil {
		return err.Error()
	}
	return "keys are being made; the planner comes to this pair in a moment"
}

func (s *Situation) waitingFor(g *Generation, half string, a, b Acks) string {
	missing := s.missing(g, a, b)
	if missing == "" {
		return fmt.Sprintf("generation %d: both hosts have acknowledged the %s SA; the planner goes on in a moment", g.Number, half)
	}
	return fmt.Sprintf("generation %d: waiting for the acknowledgement of the %s SA by %s; see the log of sallyport-agent there",
		g.Number, half, missing)
}

func (s *Situation) whyRefused(g *Generation, now time.Time) string {
	half, who := "inbound", s.missing(g, InA, InB)
	if who == "" {
		half, who = "outbound", s.missing(g, OutA, OutB)
	}
	text := fmt.Sprintf("generation %d was refused; the reason is in sallyport get events", g.Number)
	if who != "" {
		text = fmt.Sprintf("the %s SA of generation %d was refused by %s; the reason is in sallyport get events", half, g.Number, who)
	}
	_, next := Step(*s, now, Limits{})
	if g.Phase >= Draining && !next.IsZero() && next.Sub(now) <= (Limits{}).withDefaults().BackoffMax {
		text += "; next attempt at " + next.UTC().Format(time.RFC3339)
	}
	return text
}

// missing names the hosts whose ack is not there.
func (s *Situation) missing(g *Generation, a, b Acks) string {
	var names []string
	if !g.Acks.Has(a) {
		names = append(names, "host "+s.A.Name)
	}
	if !g.Acks.Has(b) {
		names = append(names, "host "+s.B.Name)
	}
	return strings.Join(names, " and ")
}
