package fleettest

import (
	"bytes"
	"context"
	"encoding/hex"
	"time"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// Peer is a peer with one child, net, as the operator and the keying service would write it.
type Peer struct {
	f    *Fleet
	Name string
	Host string
	// Peer and UID are those of the peer and of its child.
	Peer, UID plan.UID
}

// Peer writes a peer, office, at a host, and its entry.
func (f *Fleet) Peer(host string) *Peer {
	f.T.Helper()
	p := &Peer{f: f, Name: "office", Host: host, Peer: plan.UID{0: 0xe0, 7: 1}}
	p.UID = world.ChildUID(p.Peer, "net")
	f.Put(store.SpecPrefix+"peer/"+p.Name, &operatorv1.Peer{
		Metadata: &operatorv1.Metadata{Name: p.Name, Uid: hex.EncodeToString(p.Peer[:])},
		Spec: &operatorv1.PeerSpec{
			Hosts: []string{host}, RemoteAddresses: []string{"192.0.2.50"},
			Children: []*operatorv1.PeerChild{{Name: "net", Local: []string{"10.1.0.0/16"}, Remote: []string{"10.2.0.0/16"}, Order: 5}},
		},
	})
	f.Put(p.EntryKey(), &controllerv1.PeerEntry{Peer: p.Name, PeerUid: p.Peer[:], Child: "net"})
	return p
}

// EntryKey is where the entry is recorded.
func (p *Peer) EntryKey() string { return store.PeerEntryPrefix + p.Host + "/" + p.UID.String() }

// ID is the id of child SA n.
func (p *Peer) ID(n uint32) plan.SAID {
	id := plan.SAID{15: byte(n)}
	copy(id[:], p.UID[:])
	return id
}

// Child writes child SA n for the host's epoch, with its key; change may change the record.
func (p *Peer) Child(n uint32, change func(*controllerv1.IKEChild)) {
	p.f.T.Helper()
	epoch, now := p.f.Epoch(p.Host), uint32(time.Now().Unix())
	r := &controllerv1.IKEChild{
		Peer: p.Name, Child: "net", Epoch: epoch[:], Incarnation: p.f.incarnation(), InboundGeneration: n,
		InboundSpi: 0x81000100 + n, OutboundSpi: 0xc0000100 + n, Transform: &typesv1.Transform{Encryption: 20, KeyBits: 256, Esn: true},
		Udp: true, RemoteAddress: []byte{192, 0, 2, 51}, RemotePort: 61000, RemoteBehindNat: true,
		CreateTime: now, SoftTime: now + 3600, HardTime: now + 2*3600, ReplayWindow: 2048,
	}
	if change != nil {
		change(r)
	}
	id := p.ID(n)
	put, err := store.PutRecord(p.ChildKey(n), r)
	must(p.f.T, err)
	puts := []store.Put{put}
	for _, inbound := range []bool{true, false} {
		plain, err := store.Encode(&controllerv1.IKEChildKey{Id: id[:], Key: PeerMaterial(inbound, n)})
		must(p.f.T, err)
		key := store.IKEKeyKey(store.PairID(id), inbound)
		sealed, err := p.f.Store.SealTraffic(key, plain, time.Now().Add(2*time.Hour))
		must(p.f.T, err)
		puts = append(puts, store.Put{Key: key, Value: sealed})
	}
	_, err = p.f.Store.Commit(context.Background(), store.Txn{Puts: puts})
	must(p.f.T, err)
}

// ChildKey is where child SA n is recorded.
func (p *Peer) ChildKey(n uint32) string {
	return store.IKEChildPrefix + p.Host + "/" + p.ID(n).String()
}

// AwaitAcks waits until what the agent has said of child SA n is as wished.
func (p *Peer) AwaitAcks(n uint32, what string, ok func(*controllerv1.IKEChildAcks) bool) {
	p.f.T.Helper()
	p.f.Await(store.IKEAcksPrefix+p.Host+"/"+p.ID(n).String(), what, func(kv store.KV, exists bool) bool {
		var acks controllerv1.IKEChildAcks
		return exists && store.Decode(kv, &acks) == nil && ok(&acks)
	})
}

// PeerMaterial is the key of one direction of child SA n.
func PeerMaterial(inbound bool, n uint32) []byte {
	b := byte('O')
	if inbound {
		b = 'I'
	}
	return bytes.Repeat([]byte{b ^ byte(n)}, 36)
}
