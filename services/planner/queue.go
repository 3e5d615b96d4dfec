package planner

import (
	"container/heap"
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
)

// queue holds the pairs to look at, first come first served, each once; and those to look at later.
type queue struct {
	pairs  []plan.PairID
	head   int
	queued map[plan.PairID]struct{}
	later  deadlines
	when   map[plan.PairID]uint32 // the deadline that counts; others in later are void
}

func newQueue() *queue {
	return &queue{queued: make(map[plan.PairID]struct{}), when: make(map[plan.PairID]uint32)}
}

// add puts a pair at the end, unless it waits already.
func (q *queue) add(id plan.PairID) {
	if _, ok := q.queued[id]; ok {
		return
	}
	q.queued[id] = struct{}{}
	q.pairs = append(q.pairs, id)
}

// take removes up to n pairs from the front.
func (q *queue) take(n int) []plan.PairID {
	n = min(n, q.len())
	taken := append([]plan.PairID(nil), q.pairs[q.head:q.head+n]...)
	for _, id := range taken {
		delete(q.queued, id)
	}
	if q.head += n; q.head == len(q.pairs) {
		q.pairs, q.head = q.pairs[:0], 0
	} else if q.head > len(q.pairs)/2 {
		q.pairs, q.head = append([]plan.PairID(nil), q.pairs[q.head:]...), 0
	}
	return taken
}

func (q *queue) len() int { return len(q.pairs) - q.head }

// at sets the deadline of a pair; the zero time removes it.
func (q *queue) at(id plan.PairID, t time.Time) {
	if t.IsZero() {
		delete(q.when, id)
		return
	}
	second := uint32(t.Unix())
	if old, ok := q.when[id]; ok && old == second {
		return
	}
	q.when[id] = second
	heap.Push(&q.later, deadline{second, id})
}

// due moves the pairs whose deadline has come to the queue.
func (q *queue) due(now time.Time) {
	for len(q.later) > 0 && int64(q.later[0].second) <= now.Unix() {
		d := heap.Pop(&q.later).(deadline)
		if q.when[d.pair] == d.second {
			delete(q.when, d.pair)
			q.add(d.pair)
		}
	}
}

// deadline is a heap's element; deadlines the heap, earliest first.
type deadline struct {
	second uint32
	pair   plan.PairID
}

type deadlines []deadline

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].second < d[j].second }
func (d deadlines) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *deadlines) Push(x any)        { *d = append(*d, x.(deadline)) }
func (d *deadlines) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}
