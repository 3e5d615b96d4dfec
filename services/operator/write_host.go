package operator

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/operator/ipam"
	"sallyport.dev/sallyport/services/operator/spec"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// createHost puts a new host, with its addresses, into the draft and returns it as it will be.
func (d *draft) createHost(want *operatorv1.Host) (*operatorv1.Host, []string, error) {
	name := want.GetMetadata().GetName()
	key := keyPrefix(kindHost) + name
	if revision, err := d.get(key, &operatorv1.Host{}); err != nil {
		return nil, nil, err
	} else if revision != 0 {
		return nil, nil, alreadyExists(kindHost, name)
	}
	warnings, err := d.checkHost(want)
	if err != nil {
		return nil, nil, err
	}
	status, err := d.number()
	if err != nil {
		return nil, nil, err
	}
	h := &operatorv1.Host{Metadata: d.metadata(want.GetMetadata()), Spec: specOf(want)}
	if err := d.put(key, h); err != nil {
		return nil, nil, err
	}
	if err := d.put(store.StatusPrefix+string(store.KindHost)+"/"+name, status); err != nil {
		return nil, nil, err
	}
	h = proto.CloneOf(h)
	h.Status = status
	return h, warnings, nil
}

func specOf(h *operatorv1.Host) *operatorv1.HostSpec {
	if h.GetSpec() == nil {
		return &operatorv1.HostSpec{}
	}
	return h.GetSpec()
}

// metadata is that of a new resource.
func (d *draft) metadata(want *operatorv1.Metadata) *operatorv1.Metadata {
	var uid [8]byte
	rand.Read(uid[:])
	return &operatorv1.Metadata{
		Name: want.GetName(), Labels: want.GetLabels(), Uid: hex.EncodeToString(uid[:]),
		CreateTime: timestamppb.New(d.now.UTC().Truncate(time.Second)),
	}
}

// checkHost checks a host alone and against the fleet, and claims its subnets.
func (d *draft) checkHost(h *operatorv1.Host) ([]string, error) {
	name := h.GetMetadata().GetName()
	subnets, report := spec.CheckHost(h, d.service.pools)
	if err := invalid(kindHost, name, report); err != nil {
		return nil, err
	}
	c, err := d.claim()
	if err != nil {
		return nil, err
	}
	if err := invalid(kindHost, name, spec.CheckOverlap(h, c.subnets)); err != nil {
		return nil, err
	}
	c.subnets.RemoveAll(func(host string) bool { return host == name })
	c.subnets.Add(name, subnets)
	return report.Warnings, nil
}

// number takes a number out of the pools, with its addresses.
func (d *draft) number() (*operatorv1.HostStatus, error) {
	c, err := d.claim()
	if err != nil {
		return nil, err
	}
	n, err := d.service.pools.Allocate(c.pool, d.now)
	if errors.Is(err, ipam.ErrFull) {
		return nil, fault.New(fault.Exhausted, err.Error()).WithReason(ReasonPoolFull).Wrap(err)
	}
	if err != nil {
		return nil, err
	}
	v4, v6 := d.service.pools.Addresses(n)
	return &operatorv1.HostStatus{Number: n, Addresses: []string{v4.String(), v6.String()}}, nil
}

// updateHost replaces spec and labels; unchanged when nothing differs.
func (d *draft) updateHost(want *operatorv1.Host) (before, after *operatorv1.Host, warnings []string, err error) {
	name := want.GetMetadata().GetName()
	before = &operatorv1.Host{}
	revision, err := d.get(keyPrefix(kindHost)+name, before)
	if err != nil {
		return nil, nil, nil, err
	}
	if revision == 0 {
		return nil, nil, nil, absent(kindHost, want.GetMetadata())
	}
	before.Metadata.Revision = revision
	after = &operatorv1.Host{Metadata: relabelled(before.GetMetadata(), want.GetMetadata()), Spec: specOf(want)}
	if sameHost(before, after) {
		return before, before, nil, nil
	}
	if err := basedOn(kindHost, before.GetMetadata(), want.GetMetadata()); err != nil {
		return nil, nil, nil, err
	}
	if sameSubnets(before, after) {
		// The fleet's subnets stay as they are: nothing but the host itself is to be compared.
		_, report := spec.CheckHost(after, d.service.pools)
		warnings, err = report.Warnings, invalid(kindHost, name, report)
	} else {
		warnings, err = d.checkHost(after)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	return before, after, warnings, d.putSpec(kindHost, after)
}

// putSpec writes a spec; its revision is the store's business.
func (d *draft) putSpec(k operatorv1.Kind, m proto.Message) error {
	m = proto.Clone(m)
	var md *operatorv1.Metadata
	switch m := m.(type) {
	case *operatorv1.Host:
		md, m.Status = m.GetMetadata(), nil
	case *operatorv1.Policy:
		md, m.Status = m.GetMetadata(), nil
	case *operatorv1.JoinToken:
		md, m.Status = m.GetMetadata(), nil
	case *operatorv1.ManualPeer:
		md, m.Status = m.GetMetadata(), nil
	case *operatorv1.Peer:
		md, m.Status = m.GetMetadata(), nil
	case *operatorv1.Credential:
		md, m.Status = m.GetMetadata(), nil
	}
	md.Revision = 0
	return d.put(keyPrefix(k)+md.GetName(), m)
}

// relabelled is the metadata of a resource that is replaced.
func relabelled(before, want *operatorv1.Metadata) *operatorv1.Metadata {
	md := proto.CloneOf(before)
	md.Labels = want.GetLabels()
	return md
}

// absent is the error for a write to a resource that is not there.
func absent(k operatorv1.Kind, want *operatorv1.Metadata) error {
	if want.GetRevision() != 0 {
		return revisionConflict(k, want.GetName(), want.GetRevision(), 0)
	}
	return notFound(k, want.GetName())
}

// basedOn checks that a write knows what it replaces.
func basedOn(k operatorv1.Kind, is, want *operatorv1.Metadata) error {
	if want.GetRevision() != 0 && want.GetRevision() != is.GetRevision() {
		return revisionConflict(k, is.GetName(), want.GetRevision(), is.GetRevision())
	}
	if want.GetUid() != "" && want.GetUid() != is.GetUid() {
		return wrongUID(k, is.GetName(), want.GetUid(), is.GetUid())
	}
	return nil
}

// doomed reads what is to be deleted: a resource of that name, and of that revision if it is not 0.
func (d *draft) doomed(k operatorv1.Kind, name string, revision int64, into interface {
	proto.Message
	GetMetadata() *operatorv1.Metadata
}) error {
	want := &operatorv1.Metadata{Name: name, Revision: revision}
	is, err := d.get(keyPrefix(k)+name, into)
	switch {
	case err != nil:
		return err
	case is == 0:
		return absent(k, want)
	}
	into.GetMetadata().Revision = is
	return basedOn(k, into.GetMetadata(), want)
}

// maxTokensWithHost bounds the transaction that deletes a host; see deleteHost.
const maxTokensWithHost = 8

// deleteHost removes a host and all that follows from it: its recorded key, so that it is cut off at
// once, its epoch, the join tokens that are bound to it, so that it does not come back, and its number,
// which rests. What its peers hold is taken away by the planner's tombstones.
func (d *draft) deleteHost(name string, revision int64) (*operatorv1.Host, error) {
	h := &operatorv1.Host{}
	if err := d.doomed(kindHost, name, revision, h); err != nil {
		return nil, err
	}
	if err := d.giveBack(name); err != nil {
		return nil, err
	}
	d.delete(keyPrefix(kindHost)+name, store.StatusPrefix+string(store.KindHost)+"/"+name,
		store.HostIDPrefix+name, store.EpochPrefix+name)
	d.revoke(store.AuditHostRemoved, name, "deleted by an operator")
	for _, token := range boundTokens(d.snapshot, name, maxTokensWithHost) {
		if _, err := d.deleteToken(token, 0); err != nil {
			return nil, err
		}
	}
	d.forgetTombstones(name)
	if err := d.intend(world.IntentHost, name, h.GetMetadata().GetUid(), intentLife); err != nil {
		return nil, err
	}
	return h, d.event("Host", name, "HostRemoved", false, fmt.Sprintf("host %s was removed by %s", name, actor(d.ctx)))
}

// giveBack returns a host's number and subnets.
func (d *draft) giveBack(name string) error {
	var status operatorv1.HostStatus
	kv, found := d.snapshot.Get(store.StatusPrefix + string(store.KindHost) + "/" + name)
	if found {
		if err := store.Decode(kv, &status); err != nil {
			return unreadable(kv, err)
		}
	}
	// The number never changes while the host is the same one, which the spec's compare says: status
	// itself changes all the time and is not compared.
	c, err := d.claim()
	if err != nil {
		return err
	}
	ipam.Release(c.pool, status.GetNumber(), d.now.Add(d.quarantine()))
	c.subnets.RemoveAll(func(host string) bool { return host == name })
	return nil
}

// quarantine is how long an address rests: longer than any association can live.
func (d *draft) quarantine() time.Duration {
	rest := d.service.quarantine
	d.service.feed.Read(func(state world.State) {
		for p := range state.World.Policies() {
			rest = max(rest, p.Lifetime.Hard+time.Hour)
		}
	})
	return rest
}

// boundTokens finds join tokens that are bound to a host, at most so many.
func boundTokens(s *store.Snapshot, host string, most int) (names []string) {
	s.Range(keyPrefix(kindToken), func(kv store.KV) bool {
		var t operatorv1.JoinToken
		if store.Decode(kv, &t) == nil && t.GetSpec().GetHost() == host {
			names = append(names, t.GetMetadata().GetName())
		}
		return len(names) < most
	})
	return names
}

// sameHost compares what an operator says; the order of subnets says nothing, that of endpoints does.
func sameHost(a, b *operatorv1.Host) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	for _, h := range []*operatorv1.Host{a, b} {
		h.Spec = specOf(h)
		slices.Sort(h.Spec.Subnets)
	}
	return sameLabels(a.GetMetadata(), b.GetMetadata()) && proto.Equal(a.GetSpec(), b.GetSpec())
}

func sameSubnets(a, b *operatorv1.Host) bool {
	x, y := slices.Clone(a.GetSpec().GetSubnets()), slices.Clone(b.GetSpec().GetSubnets())
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}
