package keying

import (
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
)

// endOfIKESA stands in the place of an exchange.
const endOfIKESA = "IKE SA"

// Bounds of what is remembered.
const (
	maxExchanges = 48 // of one peer
	maxLines     = 24 // of one exchange
	maxRecorded  = 4096
)

// records remember the newest exchanges with each peer, in words. They are safe for concurrent use.
type records struct {
	mu    sync.Mutex
	peers map[string]*record
}

// record is one peer's.
type record struct {
	exchanges []*exchange
}

// exchange is one exchange, or something that happened without one.
type exchange struct {
	key      exchangeKey
	public   *operatorv1.ExplainPeerResponse_Exchange
	finished bool
}

type exchangeKey struct {
	ikeSA, exchange string
	ours            bool
}

func newRecords() *records { return &records{peers: make(map[string]*record)} }

// of is a peer's record; the caller holds mu.
func (r *records) of(peer string) *record {
	p := r.peers[peer]
	if p == nil {
		if len(r.peers) >= maxRecorded {
			clear(r.peers)
		}
		p = &record{}
		r.peers[peer] = p
	}
	return p
}

func (p *record) add(e *exchange) *exchange {
	if p.exchanges = append(p.exchanges, e); len(p.exchanges) > maxExchanges {
		p.exchanges = p.exchanges[1:]
	}
	return e
}

// note adds what a machine says.
func (r *records) note(peer, ikeSA string, n ike.Note) {
	if peer == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := exchangeKey{ikeSA, n.Exchange.String(), n.Ours}
	if n.Exchange == 0 {
		key.exchange = endOfIKESA
	}
	p := r.of(peer)
	var e *exchange
	if last := len(p.exchanges) - 1; last >= 0 && p.exchanges[last].key == key && !p.exchanges[last].finished {
		e = p.exchanges[last]
	} else {
		e = p.add(&exchange{key: key, public: &operatorv1.ExplainPeerResponse_Exchange{
			Exchange: key.exchange, Ok: true, Initiator: whose(n.Ours),
		}})
	}
	e.public.Time = timestamppb.New(n.At)
	if text := line(n); text != "" && len(e.public.Lines) < maxLines {
		e.public.Lines = append(e.public.Lines, text)
	}
	if n.Event == ike.Asked && len(e.public.Lines) > 1 {
		e.finished = true // the next one of the kind is another
	}
	if n.Event == ike.Refused || n.Event == ike.Failed {
		e.public.Ok = false
		e.public.Advice = advice(n)
	}
}

func whose(ours bool) string {
	if ours {
		return "ours"
	}
	return "theirs"
}

// fail adds something that went wrong on our side, beside any exchange.
func (r *records) fail(peer string, at time.Time, what string) {
	if peer == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(peer).add(&exchange{public: &operatorv1.ExplainPeerResponse_Exchange{
		Time: timestamppb.New(at), Exchange: "no exchange", Initiator: "ours", Lines: []string{what},
	}})
}

// refused adds a first message that was not taken.
func (r *records) refused(peer string, at time.Time, why *ike.Rejection) {
	n := ike.Note{Reason: why.Reason, Event: ike.Refused}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(peer).add(&exchange{public: &operatorv1.ExplainPeerResponse_Exchange{
		Time: timestamppb.New(at), Exchange: "IKE_SA_INIT", Initiator: "theirs", Lines: []string{"refused: " + why.Error()[len("ike: "):]}, Advice: advice(n),
	}})
}

// ended adds the end of an IKE SA.
func (r *records) ended(peer string, at time.Time, x ike.Closed) {
	if peer == "" {
		return
	}
	ok := x.Reason == ike.LocallyDeleted || x.Reason == ike.PeerDeleted || x.Reason == ike.Replaced
	e := &operatorv1.ExplainPeerResponse_Exchange{
		Time: timestamppb.New(at), Exchange: endOfIKESA, Ok: ok, Initiator: "ours", Lines: []string{"it has ended: " + describe(x.Reason, x.Detail)},
	}
	if x.Reason == ike.PeerDead || x.Reason == ike.HalfOpenTimeout { // of the others the exchange has said it
		e.Advice = advice(ike.Note{Event: ike.Ended, Reason: x.Reason})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(peer).add(&exchange{public: e})
}

// tell is what is remembered of a peer, oldest first.
func (r *records) tell(peer string) (all []*operatorv1.ExplainPeerResponse_Exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.peers[peer]; p != nil {
		for _, e := range p.exchanges {
			all = append(all, proto.CloneOf(e.public)) // the next note changes it
		}
	}
	return all
}

// forgetPeer drops what is remembered.
func (r *records) forgetPeer(peer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.peers, peer)
}

// note brings a machine's note into the record of its peer, or, while nobody knows who it is, of the likeliest.
func (a *association) note(n ike.Note) {
	peer := a.peer()
	if peer == "" && len(a.candidates) > 0 {
		peer = a.candidates[0].Name
	}
	a.r.records.note(peer, a.name, n)
}
