package world

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// Host reads what the planner knows of the host called name out of spec/host, status/host, epoch and
// live. It returns false when there is no such host, and an error when a record cannot be read.
func Host(s *store.Snapshot, name string) (plan.Host, bool, error) {
	var spec operatorv1.Host
	kv, found, err := record(s, store.SpecPrefix+string(store.KindHost)+"/"+name, &spec)
	if err != nil || !found {
		return plan.Host{}, false, err
	}
	var status operatorv1.HostStatus
	if _, _, err := record(s, store.StatusPrefix+string(store.KindHost)+"/"+name, &status); err != nil {
		return plan.Host{}, false, err
	}
	h := plan.Host{Name: name, Revision: kv.ModRevision, Labels: spec.GetMetadata().GetLabels()}
	if h.UID, err = plan.ParseUID(spec.GetMetadata().GetUid()); err != nil {
		return plan.Host{}, false, fmt.Errorf("%s: %w", kv.Key, err)
	}
	wanted(&h, spec.GetSpec())
	known(&h, &status)
	return h, true, epoch(s, &h)
}

// record decodes one key into m; false when it is absent.
func record(s *store.Snapshot, key string, m proto.Message) (store.KV, bool, error) {
	kv, ok := s.Get(key)
	if !ok {
		return kv, false, nil
	}
	return kv, true, store.Decode(kv, m)
}

// wanted takes what the operator says. Entries that do not parse were never accepted; they are left out.
func wanted(h *plan.Host, spec *operatorv1.HostSpec) {
	for _, text := range spec.GetSubnets() {
		if p, err := netip.ParsePrefix(text); err == nil {
			h.Subnets = append(h.Subnets, p)
		}
	}
	for _, text := range spec.GetEndpoints() {
		if a, err := netip.ParseAddr(text); err == nil {
			h.Endpoints = append(h.Endpoints, netip.AddrPortFrom(a, 0))
		} else if ap, err := netip.ParseAddrPort(text); err == nil {
			h.Endpoints = append(h.Endpoints, ap)
		}
	}
}

// known takes what the controllers have recorded.
func known(h *plan.Host, status *operatorv1.HostStatus) {
	h.Addresses = addresses(status.GetAddresses())
	h.RekeyBefore = instant(status.GetRekeyBefore())
	h.Underlay = addresses(status.GetUnderlayAddresses())
	h.Observed, _ = netip.ParseAddr(status.GetObservedAddress())
	h.ESPPort = uint16(min(status.GetEspPort(), 65535))
	h.BehindNAT = status.GetBehindNat()
	h.Since = instant(status.GetTransitionTime())
}

// epoch takes the agent's one life, and whether it is connected: its Live record must name the epoch
// that the Epoch record admits, and that in turn this host and not a forerunner of the same name.
func epoch(s *store.Snapshot, h *plan.Host) error {
	var e controllerv1.Epoch
	_, found, err := record(s, store.EpochPrefix+h.Name, &e)
	if err != nil || !found || !bytes.Equal(e.GetHostUid(), h.UID[:]) {
		return err
	}
	if len(e.GetEpoch()) != len(h.Epoch) {
		return fmt.Errorf("%s%s: an epoch has %d bytes, not %d", store.EpochPrefix, h.Name, len(h.Epoch), len(e.GetEpoch()))
	}
	copy(h.Epoch[:], e.GetEpoch())
	var l controllerv1.Live
	_, found, err = record(s, store.LivePrefix+h.Name, &l)
	h.Live = err == nil && found && bytes.Equal(l.GetEpoch(), e.GetEpoch())
	return err
}

func addresses(texts []string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// instant is the zero time for a timestamp that is not set.
func instant(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
