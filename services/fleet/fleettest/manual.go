package fleettest

import (
	"bytes"
	"context"
	"encoding/hex"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// Manual is a manual peer as the operator service would write it.
type Manual struct {
	f    *Fleet
	Name string
	UID  plan.UID
	// Spec is what Write writes.
	Spec  *operatorv1.ManualPeerSpec
	Phase *controllerv1.ManualPhase
}

// Manual makes manual peer n, branch-n, at a host; Write writes it.
func (f *Fleet) Manual(n int, host string) *Manual {
	m := &Manual{f: f, Name: "branch-" + string(rune('0'+n)), UID: plan.UID{0: 0xf0, 7: byte(n)}}
	m.Spec = &operatorv1.ManualPeerSpec{
		Host: host, Local: []string{"10.1.0.0/16"}, Remote: []string{"10.2.0.0/16 tcp/80-90"}, Mode: "tunnel", Protocol: "esp",
		Proposal: "aes256-sha256", Esn: proto.Bool(true), Encapsulation: "udp", RemoteAddress: "192.0.2.99:4501", ReplayWindow: 2048, Df: "set", Order: 7,
		Inbound: &operatorv1.ManualAssociation{Spi: 4097}, Outbound: &operatorv1.ManualAssociation{Spi: 8193},
	}
	return m
}

// ID is the id of generation n of the peer.
func (m *Manual) ID(n uint32) plan.SAID {
	id := plan.SAID{15: byte(n)}
	copy(id[:], m.UID[:])
	return id
}

// Pair is the id of the peer's pair with a host.
func (m *Manual) Pair(host plan.UID) plan.PairID { return plan.PairOf(host, m.UID) }

// ManualMaterial is the key of one direction in generation n.
func ManualMaterial(inbound bool, n uint32) []byte {
	b := byte('o')
	if inbound {
		b = 'i'
	}
	return bytes.Repeat([]byte{b ^ byte(n)}, 64)
}

// Write writes spec, keys and phase of generation n, in one transaction.
func (m *Manual) Write(n uint32, breakFirst bool) {
	m.f.T.Helper()
	id := m.ID(n)
	m.Phase = &controllerv1.ManualPhase{Peer: m.Name, Id: id[:], Generation: n, Key: bytes.Repeat([]byte{byte(n)}, 16), BreakFirst: breakFirst}
	plain, err := store.Encode(&controllerv1.ManualKey{Id: m.Phase.GetKey(), Inbound: ManualMaterial(true, n), Outbound: ManualMaterial(false, n)})
	must(m.f.T, err)
	sealed, err := m.f.Store.Seal(store.ManualKeyPrefix+m.Name, plain)
	must(m.f.T, err)
	m.commit(store.Put{Key: store.ManualKeyPrefix + m.Name, Value: sealed}, m.spec(), m.put(m.PhaseKey(), m.Phase))
}

// Touch writes the spec again, and the phase as it is, as after a change of the traffic.
func (m *Manual) Touch() {
	m.f.T.Helper()
	phase := m.Stored()
	m.commit(m.spec(), m.put(m.PhaseKey(), phase))
}

// Remove leaves a tombstone.
func (m *Manual) Remove() {
	m.f.T.Helper()
	phase := m.Stored()
	phase.Deleting = true
	m.commit(m.put(m.PhaseKey(), phase))
	_, err := m.f.Store.Commit(context.Background(), store.Txn{Deletes: []string{
		store.SpecPrefix + "manualpeer/" + m.Name, store.ManualKeyPrefix + m.Name,
	}})
	must(m.f.T, err)
}

// Stored is the phase as it is recorded.
func (m *Manual) Stored() *controllerv1.ManualPhase {
	m.f.T.Helper()
	phase := &controllerv1.ManualPhase{}
	_, err := store.Load(context.Background(), m.f.Store, m.PhaseKey(), phase)
	must(m.f.T, err)
	return phase
}

// PhaseKey is where the phase is recorded.
func (m *Manual) PhaseKey() string {
	return store.ManualPhasePrefix + m.Spec.GetHost() + "/" + m.UID.String()
}

// Await waits until the phase is as wished; nil stands for none.
func (m *Manual) Await(what string, ok func(*controllerv1.ManualPhase) bool) {
	m.f.T.Helper()
	m.f.Await(m.PhaseKey(), what, func(kv store.KV, exists bool) bool {
		if !exists {
			return ok(nil)
		}
		var phase controllerv1.ManualPhase
		return store.Decode(kv, &phase) == nil && ok(&phase)
	})
}

func (m *Manual) spec() store.Put {
	return m.put(store.SpecPrefix+"manualpeer/"+m.Name, &operatorv1.ManualPeer{
		Metadata: &operatorv1.Metadata{Name: m.Name, Uid: hex.EncodeToString(m.UID[:])}, Spec: m.Spec,
	})
}

func (m *Manual) put(key string, record proto.Message) store.Put {
	put, err := store.PutRecord(key, record)
	must(m.f.T, err)
	return put
}

func (m *Manual) commit(puts ...store.Put) {
	m.f.T.Helper()
	_, err := m.f.Store.Commit(context.Background(), store.Txn{Puts: puts})
	must(m.f.T, err)
}
