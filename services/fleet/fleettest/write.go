package fleettest

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// Put writes one record.
func (f *Fleet) Put(key string, m proto.Message) int64 {
	f.T.Helper()
	put, err := store.PutRecord(key, m)
	must(f.T, err)
	revision, err := f.Store.Commit(context.Background(), store.Txn{Puts: []store.Put{put}})
	must(f.T, err)
	return revision
}

// Host adds host n of the fleet, as an operator would: web-1, web-2, ...
func (f *Fleet) Host(n int) (name string, uid plan.UID) {
	f.T.Helper()
	name, uid = fmt.Sprintf("web-%d", n), plan.UID{7: byte(n)}
	spec := &operatorv1.Host{Metadata: &operatorv1.Metadata{Name: name, Uid: hex.EncodeToString(uid[:])}, Spec: &operatorv1.HostSpec{}}
	state := &operatorv1.HostStatus{Number: uint32(n), Addresses: []string{fmt.Sprintf("100.64.0.%d", n), fmt.Sprintf("fd00:5a11::%d", n)}}
	f.Put(store.StatusPrefix+"host/"+name, state)
	f.Put(store.SpecPrefix+"host/"+name, spec)
	return name, uid
}

// RemoveHost removes a host, as an operator would.
func (f *Fleet) RemoveHost(name string) {
	f.T.Helper()
	_, err := f.Store.Commit(context.Background(), store.Txn{Deletes: []string{
		store.SpecPrefix + "host/" + name, store.StatusPrefix + "host/" + name, store.EpochPrefix + name,
	}})
	must(f.T, err)
}

// Policy makes a mesh of every host.
func (f *Fleet) Policy(name string) {
	f.T.Helper()
	f.Put(store.SpecPrefix+"policy/"+name, &operatorv1.Policy{
		Metadata: &operatorv1.Metadata{Name: name}, Spec: &operatorv1.PolicySpec{Hosts: "*", Proposal: "aes256gcm16"},
	})
}

// RemovePolicy takes the policy away.
func (f *Fleet) RemovePolicy(name string) {
	f.T.Helper()
	_, err := f.Store.Commit(context.Background(), store.Txn{Deletes: []string{store.SpecPrefix + "policy/" + name}})
	must(f.T, err)
}

// Epoch is the host's epoch as it is recorded; zero when there is none.
func (f *Fleet) Epoch(host string) plan.Epoch {
	f.T.Helper()
	var e controllerv1.Epoch
	_, err := store.Load(context.Background(), f.Store, store.EpochPrefix+host, &e)
	if errors.Is(err, store.ErrNotFound) {
		return plan.Epoch{}
	}
	must(f.T, err)
	return plan.Epoch(e.GetEpoch())
}

// SAID is the id that Generation gives to generation n of the pair of hosts x and y.
func SAID(x, y plan.UID, n uint32) plan.SAID {
	id := plan.PairOf(x, y)
	return plan.SAID{0: 0xaa, 7: id[7], 8: id[15], 12: byte(n)}
}

// Generation makes generation n of a pair for the present epochs of its hosts, as the planner would.
func (f *Fleet) Generation(a, b string, n uint32, phase plan.Phase) plan.PairID {
	f.T.Helper()
	hostA, hostB := f.host(a), f.host(b)
	if plan.PairOf(hostA, hostB).A() != hostA {
		a, b, hostA, hostB = b, a, hostB, hostA
	}
	id := plan.PairOf(hostA, hostB)
	now := time.Now()
	g := plan.Generation{
		Number: n, Phase: phase, ID: SAID(hostA, hostB, n), EpochA: f.Epoch(a), EpochB: f.Epoch(b), Incarnation: f.incarnation(),
		Create: uint32(now.Unix()) - 60, PhaseTime: uint32(now.Unix()), Soft: uint32(now.Unix()) + 3600, Hard: uint32(now.Unix()) + 8*3600,
		SPIAB: 0x01000100 + n, SPIBA: 0x01000200 + n, Transform: plan.Transform{ID: 20, KeyBits: 256, ESN: true},
	}
	record, err := store.PutRecord(store.SAPhaseKey(store.PairID(id), n), world.GenerationRecord(g))
	must(f.T, err)
	key := &controllerv1.GenerationKey{
		Id: g.ID[:], KeyAToB: material('a', n), KeyBToA: material('b', n), SpiAToB: g.SPIAB, SpiBToA: g.SPIBA, ReplayWindow: 2048,
		Transform: &typesv1.Transform{Encryption: 20, KeyBits: 256, Esn: true}, SoftPackets: 1 << 40, HardPackets: 1 << 41,
	}
	plain, err := store.Encode(key)
	must(f.T, err)
	keyKey := store.SAKey(store.PairID(id), n)
	sealed, err := f.Store.SealTraffic(keyKey, plain, now.Add(8*time.Hour))
	must(f.T, err)
	_, err = f.Store.Commit(context.Background(), store.Txn{Puts: []store.Put{record, {Key: keyKey, Value: sealed}}})
	must(f.T, err)
	return id
}

// material is a key that a test knows again.
func material(direction byte, n uint32) []byte {
	m := make([]byte, 36)
	for i := range m {
		m[i] = direction ^ byte(n)
	}
	return m
}

// Material is the key that A seals with, or opens with, in generation n.
func Material(aToB bool, n uint32) []byte {
	if aToB {
		return material('a', n)
	}
	return material('b', n)
}

func (f *Fleet) host(name string) plan.UID {
	f.T.Helper()
	var h operatorv1.Host
	_, err := store.Load(context.Background(), f.Store, store.SpecPrefix+"host/"+name, &h)
	must(f.T, err)
	uid, err := plan.ParseUID(h.GetMetadata().GetUid())
	must(f.T, err)
	return uid
}

func (f *Fleet) incarnation() uint64 {
	inc, err := f.Store.ReadIncarnation(context.Background())
	must(f.T, err)
	return inc.Number
}

// Advance changes a generation's record, as the planner would.
func (f *Fleet) Advance(id plan.PairID, n uint32, change func(*controllerv1.GenerationPhase)) {
	f.T.Helper()
	key := store.SAPhaseKey(store.PairID(id), n)
	for {
		var r controllerv1.GenerationPhase
		revision, err := store.Load(context.Background(), f.Store, key, &r)
		must(f.T, err)
		change(&r)
		put, err := store.PutRecord(key, &r)
		must(f.T, err)
		_, err = f.Store.Commit(context.Background(), store.Txn{Compares: []store.Compare{store.Unchanged(key, revision)}, Puts: []store.Put{put}})
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		must(f.T, err)
		return
	}
}

// SetPhase advances a generation to a phase.
func (f *Fleet) SetPhase(id plan.PairID, n uint32, phase plan.Phase) {
	f.T.Helper()
	f.Advance(id, n, func(r *controllerv1.GenerationPhase) { r.Phase = controllerv1.Phase(phase) })
}

// Forget deletes a generation's record and key.
func (f *Fleet) Forget(id plan.PairID, n uint32) {
	f.T.Helper()
	_, err := f.Store.Commit(context.Background(), store.Txn{Deletes: []string{
		store.SAPhaseKey(store.PairID(id), n), store.SAKey(store.PairID(id), n),
	}})
	must(f.T, err)
}
