package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// conditionDuplicate marks a host of which there may be two.
const conditionDuplicate = "DuplicateIdentity"

func hostUID(spec store.KV) (plan.UID, error) {
	var h operatorv1.Host
	if err := store.Decode(spec, &h); err != nil {
		return plan.UID{}, err
	}
	uid, err := plan.ParseUID(h.GetMetadata().GetUid())
	if err != nil {
		return plan.UID{}, fmt.Errorf("fleet: %s: %w", spec.Key, err)
	}
	return uid, nil
}

// sighting is what there is to know of a host's agent: what it says, and where the connection came from.
type sighting struct {
	version    string
	observed   netip.Addr
	underlay   []netip.Addr
	espPort    uint32
	transition time.Time // when the stream opened or closed; zero: it did neither
	duplicate  string    // message of the condition; "" for none
}

// see takes from a report what may be believed: addresses at which another host could reach this one.
func see(r *fleetv1.HostReport, from netip.AddrPort, pools []netip.Prefix) sighting {
	s := sighting{espPort: r.GetEspPort()}
	for _, b := range r.GetUnderlayAddresses() {
		if a, ok := netip.AddrFromSlice(b); ok && reachable(a.Unmap(), pools) {
			s.underlay = append(s.underlay, a.Unmap())
		}
	}
	slices.SortFunc(s.underlay, netip.Addr.Compare)
	s.underlay = slices.Compact(s.underlay)
	s.observed = from.Addr().Unmap().WithZone("")
	if !reachable(s.observed, pools) { // an agent beside its controller connects over loopback
		s.observed = netip.Addr{}
		if len(s.underlay) > 0 {
			s.observed = s.underlay[0]
		}
	}
	return s
}

// reachable excludes addresses that mean something else to every host, and the overlay's own: ESP to
// those would go round in circles.
func reachable(a netip.Addr, pools []netip.Prefix) bool {
	return a.IsValid() && a.IsGlobalUnicast() &&
		!slices.ContainsFunc(pools, func(p netip.Prefix) bool { return p.Contains(a) })
}

// behindNAT: the controller sees the host under an address that the host does not have.
func (s sighting) behindNAT() bool {
	return s.observed.IsValid() && !slices.Contains(s.underlay, s.observed)
}

// change is the edit of status/host. It touches what agents may say and nothing else, and does nothing
// when nothing changed.
func (s sighting) change(key, slot string, while store.Compare, now func() time.Time) edit {
	return edit{key: key, slot: slot, while: while, apply: func(have store.KV, exists bool) ([]byte, error) {
		var old operatorv1.HostStatus
		if !exists {
			return nil, nil // the host is being removed
		}
		if err := store.Decode(have, &old); err != nil {
			return nil, err
		}
		status := proto.CloneOf(&old)
		s.write(status, now())
		if proto.Equal(status, &old) {
			return nil, nil
		}
		return store.Encode(status)
	}}
}

func (s sighting) write(status *operatorv1.HostStatus, now time.Time) {
	status.AgentVersion, status.EspPort, status.BehindNat = s.version, s.espPort, s.behindNAT()
	status.ObservedAddress, status.UnderlayAddresses = "", nil
	if s.observed.IsValid() {
		status.ObservedAddress = s.observed.String()
	}
	for _, a := range s.underlay {
		status.UnderlayAddresses = append(status.UnderlayAddresses, a.String())
	}
	if !s.transition.IsZero() {
		status.TransitionTime = timestamppb.New(s.transition)
	}
	status.Conditions = withCondition(status.GetConditions(), conditionDuplicate, s.duplicate, now)
}

// withCondition sets or, without a message, clears a condition; the others stay.
func withCondition(all []*operatorv1.Condition, kind, message string, now time.Time) []*operatorv1.Condition {
	at := slices.IndexFunc(all, func(c *operatorv1.Condition) bool { return c.GetType() == kind })
	switch {
	case message == "" && at >= 0:
		return slices.Delete(slices.Clone(all), at, at+1)
	case message != "" && at < 0:
		return append(slices.Clone(all), &operatorv1.Condition{Type: kind, Message: message, TransitionTime: timestamppb.New(now)})
	}
	return all
}

// pools are the overlay prefixes.
func pools(fleet *controllerv1.Fleet) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range []string{fleet.GetPoolIpv4(), fleet.GetPoolIpv6()} {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p)
		}
	}
	return out
}
