package ike

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/keyexchange"
)

// operation is one of what two ends may begin at the same moment.
type operation string

const (
	childRekey  operation = "child rekey"
	ikeRekey    operation = "IKE rekey"
	childDelete operation = "child delete"
	ikeDelete   operation = "IKE delete"
	childCreate operation = "child create"
)

func operations() []operation {
	return []operation{childRekey, ikeRekey, childDelete, ikeDelete, childCreate}
}

// start begins an operation, on the first child where it needs one.
func (e *end) start(o operation) {
	var id uint64
	if len(e.m.Children) > 0 {
		id = e.m.Children[0].ID
	}
	switch o {
	case childRekey:
		e.command(RekeyChild{ID: id})
	case ikeRekey:
		e.command(RekeyIKE{})
	case childDelete:
		e.command(DeleteChild{ID: id})
	case ikeDelete:
		e.command(DeleteIKE{Why: "test"})
	case childCreate:
		e.command(CreateChild{Name: "net"})
	}
}

// prescribed is the end that RFC 7296 sections 2.8 and 2.25 prescribe when the two begin together with one child:
//
//	an IKE delete ends everything; a child delete beats a rekey of that child, which is answered TEMPORARY_FAILURE;
//	two rekeys leave one successor; a create adds one, whatever else happens; what TEMPORARY_FAILURE holds up is done later
func prescribed(a, b operation) (children int, closed bool) {
	children = 1
	for _, o := range []operation{a, b} {
		switch o {
		case ikeDelete:
			closed = true
		case childCreate:
			children++
		}
	}
	if a == childDelete || b == childDelete {
		children--
	}
	if closed {
		children = 0
	}
	return children, closed
}

// collide runs two operations that begin together, with the fate for the datagram of that number; 0: none. It returns
// how many datagrams there were.
func collide(t *testing.T, a, b operation, f fate, number int, skew time.Duration, restoring bool) int {
	t.Helper()
	pa, pb := policies()
	l := newLab(t, uint64(number), restoring, pa, pb)
	l.establish()
	first := l.sent
	l.rule = func(p *packet) fate {
		if p.number == first+number {
			return f
		}
		return fate{}
	}
	child, ike := l.alice.m.Children[0].Inbound, l.alice.m.SPIs()[0].Local
	l.alice.start(a)
	l.run(skew, nil)
	if l.bob.m != nil && l.bob.m.Phase == established && len(l.bob.m.Children) > 0 {
		l.bob.start(b)
	}
	for range 400 {
		l.alice.ping()
		l.bob.ping()
		l.run(20*time.Millisecond, nil)
	}
	sent := l.sent - first
	l.settle()
	children, closed := prescribed(a, b)
	l.consistent(children)
	if closed != (l.alice.m == nil) {
		l.fail("closed: %v, want %v", l.alice.m == nil, closed)
	}
	rekeys := 0
	for _, o := range []operation{a, b} {
		if o == childRekey || o == ikeRekey {
			rekeys++
		}
		if _, there := l.alice.in[child]; o == childRekey && there {
			l.fail("the child has not been rekeyed")
		}
		if o == ikeRekey && !closed && l.alice.m.SPIs()[0].Local == ike {
			l.fail("the IKE SA has not been rekeyed")
		}
	}
	if lost := l.alice.lost + l.bob.lost; rekeys == 2 && lost > 0 {
		l.fail("%d packets lost", lost)
	}
	return sent
}

// TestCollisions is the matrix: every pair of operations at once, with each datagram delayed, dropped or duplicated.
func TestCollisions(t *testing.T) {
	cases := 0
	fates := map[string]fate{"dropped": {drop: true}, "duplicated": {duplicate: true},
		"delayed": {delay: 35 * time.Millisecond}, "late": {delay: 2500 * time.Millisecond}}
	for _, a := range operations() {
		for _, b := range operations() {
			for name, f := range fates {
				for n := 0; ; n++ {
					sent := 0
					ok := t.Run(fmt.Sprintf("%s and %s, datagram %d %s", a, b, n, name), func(t *testing.T) {
						sent = collide(t, a, b, f, n, 0, n%2 == 1)
					})
					cases++
					if n >= sent || !ok {
						break
					}
				}
			}
		}
	}
	t.Logf("%d cases", cases)
}

// TestCollisionsSkewed begins the second operation while the first is under way, at each moment of it.
func TestCollisionsSkewed(t *testing.T) {
	for _, a := range []operation{childRekey, ikeRekey, childCreate} {
		for _, b := range []operation{childRekey, ikeRekey, childCreate, ikeDelete} {
			for skew := 5 * time.Millisecond; skew < 50*time.Millisecond; skew += 10 * time.Millisecond {
				t.Run(fmt.Sprintf("%s and after %v %s", a, skew, b), func(t *testing.T) {
					collide(t, a, b, fate{}, 0, skew, true)
				})
			}
		}
	}
}

var schedules = flag.Int("schedules", 1000, "number of random schedules")

// TestRandomSchedules begins operations at random moments at both ends, over a network that loses, repeats and delays,
// and ends with both ends agreeing, without an orphan.
func TestRandomSchedules(t *testing.T) {
	for seed := range *schedules {
		schedule(t, uint64(seed))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func schedule(t *testing.T, seed uint64) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	r := rand.New(rand.NewPCG(seed, 0))
	a, b := policies()
	if seed%3 == 1 {
		withAdditional(&a, keyexchange.P256)
		withAdditional(&b, keyexchange.P256)
	}
	l := newLab(t, seed, seed%4 == 0, a, b)
	l.establish()
	quiet := l.now.Add(20 * time.Second)
	l.rule = func(p *packet) fate {
		if l.now.After(quiet) {
			return fate{}
		}
		f := fate{drop: r.IntN(6) == 0, duplicate: r.IntN(6) == 0}
		if r.IntN(3) == 0 {
			f.delay = time.Duration(r.IntN(4000)) * time.Millisecond
		}
		return f
	}
	for range 2 + r.IntN(8) {
		e := []*end{l.alice, l.bob}[r.IntN(2)]
		if e.m == nil || e.m.Phase != established {
			break
		}
		e.startRandom(r)
		l.run(time.Duration(r.IntN(2000))*time.Millisecond, nil)
		l.alice.ping()
		l.bob.ping()
	}
	l.settle()
	l.consistent(-1)
}

// withAdditional gives all proposals one more key exchange (RFC 9370).
func withAdditional(p *Policy, method uint16) {
	more := plain(ikewire.TransformADDKE1, method)
	for i := range p.Proposals {
		p.Proposals[i].Transforms = append(p.Proposals[i].Transforms, more...)
	}
	for _, c := range p.Children {
		for i := range c.Proposals {
			c.Proposals[i].Transforms = append(c.Proposals[i].Transforms, more...)
		}
	}
}

func (e *end) startRandom(r *rand.Rand) {
	o := operations()[r.IntN(5)]
	needs := o == childRekey || o == childDelete
	switch {
	case r.IntN(8) == 0:
		e.restart()
	case o == ikeDelete && (r.IntN(5) > 0 || e.m.wanted(taskDeleteIKE, 0)), // twice, it would not wait for the peer
		needs && len(e.m.Children) == 0:
		e.command(Probe{})
	case needs:
		id := e.m.Children[r.IntN(len(e.m.Children))].ID
		if o == childRekey {
			e.command(RekeyChild{ID: id})
		} else {
			e.command(DeleteChild{ID: id})
		}
	default:
		e.start(o)
	}
}

// TestReplay answers a repeated request with the same bytes, and ignores older ones.
func TestReplay(t *testing.T) {
	twice(t, func(t *testing.T, restoring bool) {
		a, b := policies()
		l := newLab(t, 1, restoring, a, b)
		l.establish()
		var requests, answers [][]byte
		l.rule = func(p *packet) fate {
			h, _ := ikewire.ParseHeader(p.datagram)
			switch {
			case h.Flags.Response():
				answers = append(answers, p.datagram)
			default:
				requests = append(requests, p.datagram)
			}
			return fate{}
		}
		l.alice.command(Probe{})
		l.run(time.Second, nil)
		l.alice.command(Probe{})
		l.run(time.Second, nil)
		if len(requests) != 2 || len(answers) != 2 {
			l.fail("%d requests, %d answers", len(requests), len(answers))
		}
		path := Path{Local: l.bob.path().Local, Remote: l.alice.path().Local}
		l.bob.receive(path, requests[1])
		if len(answers) != 3 || string(answers[2]) != string(answers[1]) {
			l.fail("%d answers, or another one", len(answers))
		}
		l.bob.receive(path, requests[0])
		if len(answers) != 3 || l.bob.rejections[len(l.bob.rejections)-1] != OldMessage {
			l.fail("an old request is answered")
		}
		l.alice.receive(l.alice.path(), answers[1])
		if l.alice.rejections[len(l.alice.rejections)-1] != OldMessage {
			l.fail("an old response is taken")
		}
		l.bob.receive(path, answers[0])
		if l.bob.rejections[len(l.bob.rejections)-1] != WrongDirection {
			l.fail("a reflected response is taken: %v", l.bob.rejections)
		}
		l.alice.receive(path, requests[1])
		if l.alice.rejections[len(l.alice.rejections)-1] != WrongDirection {
			l.fail("a reflected request is taken: %v", l.alice.rejections)
		}
	})
}
