package fleet

import (
	"bytes"
	"fmt"
	"math"
	"time"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

const (
	// maxBurntLead bounds how far above a generation an agent can push the next one: a hostile agent
	// must not use up a pair's numbers. A store that was restored from a backup is never that far behind.
	maxBurntLead = 1 << 20
	// leastAge is how old a generation must be to be rekeyed on an agent's word: a hostile agent must not
	// make the fleet do nothing else.
	leastAge = 2 * time.Second
)

// phaseEdit is what an agent may change in a generation's record. Zero fields change nothing.
type phaseEdit struct {
	acks         plan.Acks
	refusedBelow uint32
	soft         bool // it is time to rekey
}

// generationRef names a generation and the life of the agent that speaks of it.
type generationRef struct {
	pair   plan.PairID
	number uint32
	id     plan.SAID
	ofA    bool // the agent is host A's
	epoch  plan.Epoch
}

// change is the edit of the record in the store. It does nothing when the record is of another SA pair,
// or for another life of the agent.
func (r generationRef) change(what phaseEdit, while store.Compare, now func() time.Time) edit {
	return edit{
		key:   store.SAPhaseKey(store.PairID(r.pair), r.number),
		slot:  what.slot(r.ofA),
		while: while,
		apply: func(have store.KV, exists bool) ([]byte, error) {
			var record controllerv1.GenerationPhase
			if !exists {
				return nil, nil
			}
			if err := store.Decode(have, &record); err != nil {
				return nil, err
			}
			if !r.names(&record) || !what.apply(&record, now()) {
				return nil, nil
			}
			return store.Encode(&record)
		},
	}
}

func (r generationRef) names(record *controllerv1.GenerationPhase) bool {
	epoch := record.GetEpochB()
	if r.ofA {
		epoch = record.GetEpochA()
	}
	return bytes.Equal(record.GetId(), r.id[:]) && bytes.Equal(epoch, r.epoch[:])
}

// slot is shared by what an agent may say as often as it likes: it must not push out what else waits for
// the record.
func (e phaseEdit) slot(ofA bool) string {
	if e != (phaseEdit{soft: true}) {
		return ""
	}
	return fmt.Sprintf("rekey asked for by A: %t", ofA)
}

// apply says whether it changed anything.
func (e phaseEdit) apply(record *controllerv1.GenerationPhase, now time.Time) bool {
	changed := false
	if have := plan.Acks(record.GetAcks()); !have.Has(e.acks) {
		record.Acks = uint32(have | e.acks)
		changed = true
	}
	if e.refusedBelow > record.GetRefusedBelow() {
		record.RefusedBelow = e.refusedBelow
		changed = true
	}
	if e.soft {
		at := max(uint32(now.Unix()), record.GetCreateTime()+uint32(leastAge/time.Second))
		if at < record.GetSoftTime() {
			record.SoftTime = at
			changed = true
		}
	}
	return changed
}

// refusedBelow is the lowest generation that may follow one that was refused.
func refusedBelow(number, highest uint32) uint32 {
	if highest < number {
		highest = number
	}
	if highest-number > maxBurntLead {
		highest = number + min(maxBurntLead, math.MaxUint32-number)
	}
	if highest == math.MaxUint32 {
		return highest
	}
	return highest + 1
}
