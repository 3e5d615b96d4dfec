package world

import (
	"fmt"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// Generation reads one sa/phase record.
func Generation(kv store.KV) (plan.PairID, plan.Generation, error) {
	pair, number, err := store.ParseSAPhaseKey(kv.Key)
	if err != nil {
		return plan.PairID{}, plan.Generation{}, err
	}
	var r controllerv1.GenerationPhase
	if err := store.Decode(kv, &r); err != nil {
		return plan.PairID{}, plan.Generation{}, err
	}
	g := plan.Generation{
		Number: number, Phase: plan.Phase(r.GetPhase()), Acks: plan.Acks(r.GetAcks()), Incarnation: r.GetIncarnation(),
		Create: r.GetCreateTime(), PhaseTime: r.GetPhaseTime(), Soft: r.GetSoftTime(), Hard: r.GetHardTime(),
		RefusedBelow: r.GetRefusedBelow(), SPIAB: r.GetSpiAToB(), SPIBA: r.GetSpiBToA(),
		Transform:      Transform(r.GetTransform()),
		CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision,
	}
	for _, id := range []struct {
		name string
		to   []byte
		from []byte
	}{{"id", g.ID[:], r.GetId()}, {"epoch_a", g.EpochA[:], r.GetEpochA()}, {"epoch_b", g.EpochB[:], r.GetEpochB()}} {
		if copy(id.to, id.from) != len(id.to) || len(id.from) != len(id.to) {
			return plan.PairID{}, plan.Generation{}, fmt.Errorf("%s: %s has %d bytes, not %d", kv.Key, id.name, len(id.from), len(id.to))
		}
	}
	return plan.PairID(pair), g, nil
}

// GenerationRecord is the inverse of Generation: the sa/phase record of g.
func GenerationRecord(g plan.Generation) *controllerv1.GenerationPhase {
	return &controllerv1.GenerationPhase{
		Phase: controllerv1.Phase(g.Phase), Id: g.ID[:], EpochA: g.EpochA[:], EpochB: g.EpochB[:], Acks: uint32(g.Acks),
		CreateTime: g.Create, PhaseTime: g.PhaseTime, SoftTime: g.Soft, HardTime: g.Hard,
		RefusedBelow: g.RefusedBelow, Incarnation: g.Incarnation, SpiAToB: g.SPIAB, SpiBToA: g.SPIBA,
		Transform: TransformRecord(g.Transform),
	}
}

// Transform is the inverse of TransformRecord.
func Transform(r *typesv1.Transform) plan.Transform {
	return plan.Transform{
		ID: uint16(r.GetEncryption()), KeyBits: uint16(r.GetKeyBits()), Integrity: uint16(r.GetIntegrity()), ESN: r.GetEsn(),
	}
}

// TransformRecord is t as records and messages have it.
func TransformRecord(t plan.Transform) *typesv1.Transform {
	return &typesv1.Transform{
		Encryption: uint32(t.ID), KeyBits: uint32(t.KeyBits), Integrity: uint32(t.Integrity), Esn: t.ESN, Insecure: t.Insecure(),
	}
}

// Generations reads every generation of a pair, lowest number first. Records that cannot be read are
// left out; the error is the first of them.
func Generations(s *store.Snapshot, pair plan.PairID) (out []plan.Generation, err error) {
	s.Range(store.SAPhasePrefix+pair.String()+"/", func(kv store.KV) bool {
		_, g, bad := Generation(kv)
		if bad == nil {
			out = append(out, g)
		} else if err == nil {
			err = bad
		}
		return true
	})
	return out, err
}
