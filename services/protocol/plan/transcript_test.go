package plan_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestTranscripts plays testdata/*.txt: "> command", then what it says. Each is played twice, the second
// time with a planner that is started from the store alone before each of its moves.
//
//	policy NAME hosts=SELECTOR [to=SELECTOR] [rekey=D] [hard=D] [aes128]     no-policy NAME
//	host NAME [LABEL=VALUE…]       no-host NAME
//	start NAME                     a new life of the agent        disconnect NAME, connect NAME
//	plan                           the planner does all it can
//	deliver [NAME]                 the agents do what they are told; their replies are under way
//	reply, lose, double            the replies arrive; are lost; arrive, and stay under way
//	refuse NAME N                  the agent refuses its next installation, having held generation N
//	settle                         everything goes on until only time can change something
//	tick D                         time passes
//	show                           the records, and what agents hold
//	why NAME NAME                  why a pair is not up
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) { play(t, file, false, *update) })
		t.Run(name+"-rebuilt", func(t *testing.T) { play(t, file, true, false) })
	}
}

func play(t *testing.T, file string, rebuild, update bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	script := &transcript{sim: newSim(1), rebuild: rebuild, refuse: make(map[string]uint32)}
	script.planner.skew = 0
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		command, isCommand := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "> ")
		switch {
		case isCommand:
			fmt.Fprintf(&out, "> %s\n", command)
			for _, said := range script.do(strings.Fields(command)) {
				fmt.Fprintf(&out, "  %s\n", said)
			}
		case line == "\n" || strings.HasPrefix(line, "#"):
			out.WriteString(line)
		}
	}
	script.report(t, file)
	if update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if out.String() != string(text) {
		t.Errorf("%s:\n%s", file, difference(string(text), out.String()))
	}
}

// difference shows the first line that is not as it should be.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			return fmt.Sprintf("line %d is\n%s\nwant\n%s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// transcript is a simulation that does what it is told.
type transcript struct {
	*sim
	rebuild bool
	refuse  map[string]uint32 // agents that refuse their next installation
}

func (s *transcript) do(args []string) []string {
	verb, rest := args[0], args[1:]
	switch verb {
	case "policy":
		s.setPolicy(parsePolicy(rest))
	case "no-policy":
		s.removePolicy(rest[0])
	case "host":
		s.addHostAs(uidOf(rest[0]), rest[0], parseLabels(rest[1:]))
	case "no-host":
		s.removeHost(uidOf(rest[0]))
	case "start":
		s.startAgent(uidOf(rest[0]))
	case "connect":
		s.connect(s.agents[uidOf(rest[0])])
	case "disconnect":
		s.disconnect(s.agents[uidOf(rest[0])])
	case "tick":
		s.advance(must(time.ParseDuration(rest[0])))
	case "refuse":
		s.refuse[rest[0]] = uint32(must(strconv.ParseUint(rest[1], 10, 32)))
	case "plan":
		return s.plan()
	case "deliver":
		return s.deliverTo(rest)
	case "reply", "lose", "double":
		s.answer(verb)
	case "settle":
		return s.settleAll()
	case "show":
		return s.show()
	case "why":
		return s.why(rest[0], rest[1])
	default:
		return []string{"unknown command"}
	}
	return nil
}

func (s *transcript) plan() (said []string) {
	if s.rebuild {
		s.planner = s.newPlanner()
		s.planner.skew = 0
	}
	for s.planner.catchUp(len(s.store.log)); len(s.planner.dirty) > 0; s.planner.catchUp(len(s.store.log)) {
		t := s.planner.decide(0)
		s.planner.commit(t)
		for _, c := range t.changes {
			text := fmt.Sprintf("%s: %s %d", s.pairName(t.pair), c.Kind, c.Generation.Number)
			if c.Kind != plan.Forget {
				text += " → " + c.Generation.Phase.String()
			}
			said = append(said, text+" ("+c.Cause.String()+")")
		}
	}
	slices.Sort(said)
	return said
}

// deliverTo lets the fleet send, and agents do it.
func (s *transcript) deliverTo(names []string) (said []string) {
	for s.stepFleet(0) {
	}
	for _, uid := range sorted(s.agents) {
		a := s.agents[uid]
		if len(names) > 0 && !slices.Contains(names, s.name(uid)) {
			continue
		}
		for ; len(a.inbox) > 0; a.inbox = a.inbox[1:] {
			r, text := s.handle(a, a.inbox[0])
			s.replies = append(s.replies, r)
			said = append(said, text)
		}
	}
	return said
}

func (s *transcript) handle(a *simAgent, m message) (reply, string) {
	what := map[bool]string{false: "in", true: "out"}[m.out]
	text := fmt.Sprintf("%s: %s %s %d of %s", s.name(a.uid), map[verb]string{install: "install", remove: "remove"}[m.verb], what, m.generation, s.pairName(m.pair))
	if highest, ok := s.refuse[s.name(a.uid)]; ok && m.verb == install {
		delete(s.refuse, s.name(a.uid))
		return reply{message: m, uid: a.uid, refused: true, highest: highest}, text + ": refused"
	}
	r := a.handle(m)
	s.checkDelivery(a, r)
	if r.refused {
		text += fmt.Sprintf(": refused, burnt up to %d", r.highest)
	}
	return r, text
}

func (s *transcript) answer(how string) {
	replies := s.replies
	s.replies = nil
	for _, r := range replies {
		switch how {
		case "lose":
			delete(s.agents[r.uid].sent, r.message)
			s.deliver(delivery{r.uid, r.pair})
		case "double":
			s.replies = append(s.replies, r)
			s.receive(r)
		default:
			s.receive(r)
		}
	}
}

func (s *transcript) settleAll() (said []string) {
	for {
		round := append(s.plan(), s.deliverTo(nil)...)
		if len(round) == 0 && len(s.replies) == 0 {
			return said
		}
		said = append(said, round...)
		s.answer("reply")
	}
}

func (s *transcript) show() (said []string) {
	for _, id := range sorted(s.store.pairs) {
		for _, g := range s.store.pairs[id] {
			said = append(said, fmt.Sprintf("%s: generation %d %s, acks %08b", s.pairName(id), g.Number, g.Phase, g.Acks))
		}
	}
	for _, uid := range sorted(s.agents) {
		var halves []string
		for h, sa := range s.agents[uid].holds {
			halves = append(halves, fmt.Sprintf("%s %d of %s", map[bool]string{false: "in", true: "out"}[h.out], sa.generation, s.pairName(sa.pair)))
		}
		slices.Sort(halves)
		if len(halves) == 0 {
			halves = []string{"nothing"}
		}
		said = append(said, fmt.Sprintf("%s holds: %s", s.name(uid), strings.Join(halves, ", ")))
	}
	return said
}

func (s *transcript) why(a, b string) []string {
	p := s.newPlanner()
	s.planner.token = p.token // only a look: the planner stays the leader
	id := plan.PairOf(uidOf(a), uidOf(b))
	text := plan.Why(p.world.Situation(id, s.store.pairs[id]), s.now)
	if text == "" {
		text = "it is up"
	}
	return []string{text}
}

func uidOf(name string) (uid plan.UID) {
	copy(uid[:], name)
	return uid
}

func parseLabels(args []string) map[string]string {
	labels := make(map[string]string)
	for _, arg := range args {
		k, v, _ := strings.Cut(arg, "=")
		labels[k] = v
	}
	return labels
}

func parsePolicy(args []string) plan.Policy {
	p := meshPolicy(args[0], "*", "")
	for _, arg := range args[1:] {
		k, v, _ := strings.Cut(arg, "=")
		switch k {
		case "hosts":
			p.Hosts = selector(v)
		case "to":
			p.To = selector(v)
		case "rekey":
			p.Lifetime.Rekey = must(time.ParseDuration(v))
		case "hard":
			p.Lifetime.Hard = must(time.ParseDuration(v))
		case "aes128":
			p.Transform = aes128
		default:
			panic("unknown part of a policy: " + arg)
		}
	}
	return p
}

func must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}
