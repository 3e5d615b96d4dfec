package keying

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

// load decodes a record of the view; false when it is absent or cannot be read.
func (r *reign) load(key string, into proto.Message) bool {
	kv, ok := r.config.View.Get(key)
	return ok && store.Decode(kv, into) == nil
}

// peerSpec reads a peer, with the revision of its spec.
func (r *reign) peerSpec(name string) (*operatorv1.Peer, bool) {
	var p operatorv1.Peer
	if name == "" {
		return nil, false
	}
	kv, ok := r.config.View.Get(store.SpecPrefix + string(store.KindPeer) + "/" + name)
	if !ok || store.Decode(kv, &p) != nil || p.GetMetadata() == nil {
		return nil, false
	}
	p.Metadata.Revision = kv.ModRevision
	return &p, true
}

// spec reads a peer's uid and spec.
func (r *reign) spec(name string) (plan.UID, *operatorv1.PeerSpec, error) {
	p, ok := r.peerSpec(name)
	if !ok {
		return plan.UID{}, nil, fmt.Errorf("keying: there is no peer %q", name)
	}
	uid, err := plan.ParseUID(p.GetMetadata().GetUid())
	return uid, p.GetSpec(), err
}

// candidate is a peer by its name; nobody when it is gone.
func (r *reign) candidate(name string) []Candidate {
	p, ok := r.peerSpec(name)
	if !ok {
		return nil
	}
	return []Candidate{{Name: name, Spec: p.GetSpec(), revision: p.GetMetadata().GetRevision()}}
}

// eachPeer yields all peers.
func (r *reign) eachPeer(yield func(name string, p *operatorv1.Peer)) {
	prefix := store.SpecPrefix + string(store.KindPeer) + "/"
	r.config.View.Range(prefix, func(kv store.KV) bool {
		var p operatorv1.Peer
		if store.Decode(kv, &p) == nil {
			yield(strings.TrimPrefix(kv.Key, prefix), &p)
		}
		return true
	})
}

// candidates are the peers that a host serves and that may be at an address, the most particular first.
func (r *reign) candidates(host string, at netip.Addr) (all []Candidate) {
	width := make(map[string]int)
	r.eachPeer(func(name string, p *operatorv1.Peer) {
		if bits, ok := matches(p.GetSpec(), at); ok && serves(p.GetSpec(), host) {
			all = append(all, Candidate{Name: name, Spec: p.GetSpec()})
			width[name] = bits
		}
	})
	slices.SortFunc(all, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(width[a.Name], width[b.Name]), strings.Compare(a.Name, b.Name))
	})
	return all
}

// matches reports whether a peer may be at an address, and how wide the range is that says so: 0 for one address.
func matches(s *operatorv1.PeerSpec, at netip.Addr) (width int, ok bool) {
	width = 1000
	for _, text := range s.GetRemoteAddresses() {
		w := width
		if text == anyone {
			w = 999
		} else if a, err := netip.ParseAddr(text); err == nil && a == at {
			w = 0
		} else if p, err := netip.ParsePrefix(text); err == nil && p.Contains(at) {
			w = at.BitLen() - p.Bits()
		} else if from, to, isRange := strings.Cut(text, "-"); isRange {
			first, e1 := netip.ParseAddr(from)
			last, e2 := netip.ParseAddr(to)
			if e1 == nil && e2 == nil && first.BitLen() == at.BitLen() && !at.Less(first) && !last.Less(at) {
				w = at.BitLen() / 2
			}
		}
		if w < width {
			width, ok = w, true
		}
	}
	return width, ok
}

// host is a host as the world has it.
func (r *reign) host(name string) (h plan.Host, err error) {
	found := false
	r.config.World.Read(func(s world.State) {
		if p, ok := s.World.HostByName(name); ok {
			h, found = *p, true
		}
	})
	if !found || !h.Live {
		return h, fmt.Errorf("%w: %s", errNoHost, name)
	}
	return h, nil
}

// generation is the number of a half that is to be installed: above all there are, and, since it counts seconds, above
// those that a restore has forgotten.
func (r *reign) generation(host string, uid plan.UID, now time.Time) uint32 {
	next := uint32(now.Unix())
	r.config.View.Range(store.IKEChildPrefix+host+"/"+uid.String(), func(kv store.KV) bool {
		var c controllerv1.IKEChild
		if store.Decode(kv, &c) == nil {
			next = max(next, c.GetInboundGeneration()+1, c.GetOutboundGeneration()+1)
		}
		return true
	})
	return next
}

// limits fills in what a spec says of a child's SAs.
func limits(r *controllerv1.IKEChild, s *operatorv1.PeerSpec, name string) {
	for _, c := range s.GetChildren() {
		if c.GetName() == name {
			l := c.GetLifetime()
			r.SoftBytes, r.HardBytes, r.SoftPackets, r.HardPackets = l.GetRekeyBytes(), l.GetHardBytes(), l.GetRekeyPackets(), l.GetHardPackets()
			r.ReplayWindow, r.Df = c.GetReplayWindow(), c.GetDf()
		}
	}
}

// selectors are those of a child as records have them.
func selectors(all []ikewire.TrafficSelector) (out []*typesv1.TrafficSelector) {
	for _, t := range all {
		out = append(out, &typesv1.TrafficSelector{
			StartAddress: t.Start.AsSlice(), EndAddress: t.End.AsSlice(), IpProtocol: uint32(t.Protocol),
			StartPort: uint32(t.StartPort), EndPort: uint32(t.EndPort),
		})
	}
	return out
}

func transformRecord(c ike.Child) *typesv1.Transform {
	return world.TransformRecord(plan.Transform{ID: c.Encryption.ID, KeyBits: c.Encryption.KeyBits, Integrity: c.Integrity, ESN: c.ESN})
}

// spi is the association's name in bytes.
func (a *association) spi() []byte {
	b, _ := hex.DecodeString(a.name) // it was made from bytes
	return b
}

// sameUID compares a record's uid.
func sameUID(b []byte, uid plan.UID) bool { return bytes.Equal(b, uid[:]) }
