package operator

import (
	"bytes"
	"encoding/hex"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// reader makes resources out of records: specs and what is stored of their status from one snapshot,
// counts of pairs from the world as it is now.
type reader struct {
	snapshot *store.Snapshot
	world    world.State         // inside Feed.Read only
	names    map[plan.UID]string // of hosts seen before, for those that are gone; may be nil
}

// read calls do with a reader of a snapshot; do must be quick.
func (s *Service) read(snapshot *store.Snapshot, do func(reader) error) (err error) {
	s.feed.Read(func(state world.State) { err = do(reader{snapshot: snapshot, world: state}) })
	return err
}

// load decodes one key; an absent one leaves m as it is.
func (r reader) load(key string, m proto.Message) (bool, error) {
	kv, ok := r.snapshot.Get(key)
	if !ok {
		return false, nil
	}
	return true, store.Decode(kv, m)
}

// host reads a host whose spec is kv.
func (r reader) host(kv store.KV) (*operatorv1.Host, error) {
	h := &operatorv1.Host{}
	if err := store.Decode(kv, h); err != nil {
		return nil, err
	}
	name := h.GetMetadata().GetName()
	h.Metadata.Revision, h.Status = kv.ModRevision, &operatorv1.HostStatus{}
	if _, err := r.load(store.StatusPrefix+string(store.KindHost)+"/"+name, h.Status); err != nil {
		return nil, err
	}
	if err := r.identity(name, h); err != nil {
		return nil, err
	}
	uid, err := plan.ParseUID(h.GetMetadata().GetUid())
	if err != nil {
		return nil, err
	}
	h.Status.PairsWanted = uint32(r.world.World.PairCountOf(uid))
	h.Status.PairsUp = uint32(r.world.PairsUpOf(uid))
	return h, nil
}

// identity adds what other services have recorded of the host.
func (r reader) identity(name string, h *operatorv1.Host) error {
	uid, err := hex.DecodeString(h.GetMetadata().GetUid())
	if err != nil {
		return err
	}
	var id controllerv1.HostIdentity
	if found, err := r.load(store.HostIDPrefix+name, &id); err != nil {
		return err
	} else if found && bytes.Equal(id.GetHostUid(), uid) {
		h.Status.CertificateExpireTime = id.GetNotAfter()
	}
	var e controllerv1.Epoch
	if found, err := r.load(store.EpochPrefix+name, &e); err != nil || !found || !bytes.Equal(e.GetHostUid(), uid) {
		return err
	}
	h.Status.Epoch = hex.EncodeToString(e.GetEpoch())
	var l controllerv1.Live
	found, err := r.load(store.LivePrefix+name, &l)
	h.Status.Connected = found && bytes.Equal(l.GetEpoch(), e.GetEpoch())
	return err
}

// policy reads a policy whose spec is kv.
func (r reader) policy(kv store.KV) (*operatorv1.Policy, error) {
	p := &operatorv1.Policy{}
	if err := store.Decode(kv, p); err != nil {
		return nil, err
	}
	name := p.GetMetadata().GetName()
	p.Metadata.Revision, p.Status = kv.ModRevision, &operatorv1.PolicyStatus{}
	if _, err := r.load(store.StatusPrefix+string(store.KindPolicy)+"/"+name, p.Status); err != nil {
		return nil, err
	}
	hosts, pairs := r.world.World.Selection(name)
	p.Status.HostsSelected, p.Status.PairsWanted = uint32(hosts), uint32(pairs)
	p.Status.PairsUp = uint32(r.world.PairsUpUnder(name))
	p.Status.Conditions = selectionConditions(hosts, pairs)
	return p, nil
}

// selectionConditions says why a policy does nothing.
func selectionConditions(hosts, pairs int) []*operatorv1.Condition {
	switch {
	case hosts == 0:
		return []*operatorv1.Condition{{Type: "SelectsNobody", Message: "no host has labels that the policy selects: it does nothing until one has"}}
	case pairs == 0:
		return []*operatorv1.Condition{{Type: "WantsNoPair", Message: "the policy selects a single host or one side only, or policies with a higher priority have all its pairs"}}
	}
	return nil
}

// token reads a join token whose spec is kv.
func (r reader) token(kv store.KV) (*operatorv1.JoinToken, error) {
	t := &operatorv1.JoinToken{}
	if err := store.Decode(kv, t); err != nil {
		return nil, err
	}
	t.Metadata.Revision, t.Status = kv.ModRevision, &operatorv1.JoinTokenStatus{}
	_, err := r.load(store.StatusPrefix+string(store.KindJoinToken)+"/"+t.GetMetadata().GetName(), t.Status)
	return t, err
}

// manual reads a manual peer whose spec is kv.
func (r reader) manual(kv store.KV) (*operatorv1.ManualPeer, error) {
	p := &operatorv1.ManualPeer{}
	if err := store.Decode(kv, p); err != nil {
		return nil, err
	}
	name, host := p.GetMetadata().GetName(), p.GetSpec().GetHost()
	p.Metadata.Revision, p.Status = kv.ModRevision, &operatorv1.ManualPeerStatus{}
	if _, err := r.load(store.StatusPrefix+string(store.KindManualPeer)+"/"+name, p.Status); err != nil {
		return nil, err
	}
	var phase controllerv1.ManualPhase
	if _, err := r.load(store.ManualPhasePrefix+host+"/"+p.GetMetadata().GetUid(), &phase); err != nil {
		return nil, err
	}
	if phase.GetId() != nil {
		p.Status.Id, p.Status.Generation = hex.EncodeToString(phase.GetId()), phase.GetGeneration()
	}
	var e controllerv1.Epoch
	if _, err := r.load(store.EpochPrefix+host, &e); err != nil {
		return nil, err
	}
	p.Status.Installed = phase.GetAcks() == world.ManualInstalled && bytes.Equal(phase.GetEpoch(), e.GetEpoch())
	p.Status.Conditions = r.manualConditions(p)
	return p, nil
}

// manualConditions says why nothing of a manual peer can be installed.
func (r reader) manualConditions(p *operatorv1.ManualPeer) (all []*operatorv1.Condition) {
	if _, ok := r.world.World.HostByName(p.GetSpec().GetHost()); !ok {
		all = append(all, &operatorv1.Condition{Type: "HostMissing", Message: "there is no such host: nothing is installed until it joins"})
	}
	if _, ok := r.snapshot.Get(store.ManualKeyPrefix + p.GetMetadata().GetName()); !ok {
		all = append(all, &operatorv1.Condition{
			Type: "KeysMissing", Message: "the keys were replaced after the backup that the store was restored from: apply the peer with its keys again",
		})
	}
	return all
}

// event reads an event.
func (r reader) event(kv store.KV) (*operatorv1.Event, error) {
	e := &operatorv1.Event{}
	if err := store.Decode(kv, e); err != nil {
		return nil, err
	}
	e.Metadata.Revision = kv.ModRevision
	return e, nil
}

// resources reads what one key shows: one resource, or both associations of a generation, by name.
func (r reader) resources(k operatorv1.Kind, kv store.KV) ([]*operatorv1.Resource, error) {
	switch k {
	case kindHost:
		h, err := r.host(kv)
		return one(ofHost(h), err)
	case kindPolicy:
		p, err := r.policy(kv)
		return one(ofPolicy(p), err)
	case kindToken:
		t, err := r.token(kv)
		return one(ofToken(t), err)
	case kindManual:
		p, err := r.manual(kv)
		return one(ofManual(p), err)
	case kindPeer:
		p, err := r.peer(kv)
		return one(ofPeer(p), err)
	case kindCredential:
		c, err := r.credential(kv)
		return one(ofCredential(c), err)
	case kindIKESA:
		a, err := r.ikeSA(kv)
		return one(ofIKESA(a), err)
	case kindEvent:
		e, err := r.event(kv)
		return one(ofEvent(e), err)
	}
	return r.associations(kv)
}

func one(r *operatorv1.Resource, err error) ([]*operatorv1.Resource, error) {
	if err != nil {
		return nil, err
	}
	return []*operatorv1.Resource{r}, nil
}

// unix is a record's time; unset for 0.
func unix(seconds uint32) *timestamppb.Timestamp {
	if seconds == 0 {
		return nil
	}
	return timestamppb.New(time.Unix(int64(seconds), 0))
}
