package planner

import (
	"time"

	"sallyport.dev/sallyport/services/store"
)

// packet is one transaction and the works in it.
type packet struct {
	txn   store.Txn
	works []work
	have  map[string]struct{} // keys that are compared
}

func (r *reign) newPacket() *packet {
	return &packet{
		txn:  store.Txn{Compares: []store.Compare{r.fence}},
		have: map[string]struct{}{r.fence.Key(): {}},
	}
}

// retryLater is when a pair is tried again for which no key could be made.
const retryLater = 10 * time.Second

// pack makes the keys and puts works into as few transactions as their bounds allow. A pair is never
// split. What works have in common, a host or a policy, is compared once.
func (r *reign) pack(works []work) []*packet {
	var packets []*packet
	var open *packet
	var failed error
	prefix := r.config.Store.Prefix()
	for _, w := range works {
		puts, deletes, err := r.complete(&w)
		if err != nil {
			failed = err
			r.queue.at(w.pair, r.config.Now().Add(retryLater))
			continue
		}
		if _, shy := r.shy[w.pair]; shy {
			alone := r.newPacket()
			alone.add(w, puts, deletes)
			packets = append(packets, alone)
			continue
		}
		if open == nil || !open.fits(prefix, w, puts, deletes) {
			open = r.newPacket()
			packets = append(packets, open)
		}
		open.add(w, puts, deletes)
	}
	if failed != nil {
		r.note(func(s *Stats) { s.Failures++ })
		r.config.Log.Error("keys could not be made; their pairs are tried again", "err", failed)
	}
	return packets
}

// complete makes what is random and secret in a work, and its writes.
func (r *reign) complete(w *work) (puts []store.Put, deletes []string, err error) {
	if err = r.randomise(w); err == nil {
		puts, deletes, err = r.puts(w)
	}
	if err != nil {
		r.unmake(w)
	}
	return puts, deletes, err
}

// fits reports whether the packet can take one more work.
func (p *packet) fits(prefix string, w work, puts []store.Put, deletes []string) bool {
	more := store.Txn{Puts: puts, Deletes: deletes}
	for _, c := range w.compares {
		if _, have := p.have[c.Key()]; !have {
			more.Compares = append(more.Compares, c)
		}
	}
	return len(p.txn.Puts)+len(p.txn.Deletes)+len(puts)+len(deletes) <= store.MaxTxnOps &&
		len(p.txn.Compares)+len(more.Compares) <= store.MaxTxnCompares &&
		p.txn.Size(prefix)+more.Size(prefix) <= store.MaxTxnBytes
}

func (p *packet) add(w work, puts []store.Put, deletes []string) {
	for _, c := range w.compares {
		if _, have := p.have[c.Key()]; !have {
			p.have[c.Key()] = struct{}{}
			p.txn.Compares = append(p.txn.Compares, c)
		}
	}
	p.txn.Puts = append(p.txn.Puts, puts...)
	p.txn.Deletes = append(p.txn.Deletes, deletes...)
	p.works = append(p.works, w)
}
