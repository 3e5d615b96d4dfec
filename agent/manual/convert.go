package manual

import (
	"crypto/sha256"
	"encoding/binary"
	"reflect"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// Ids are hashes of what they name, so that one file has the same ids in every life of the agent. The parts
// are separated by their lengths.
func hashID(label string, name string, numbers ...uint32) [16]byte {
	h := sha256.New()
	for _, part := range []string{"sallyport manual", label, name} {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		h.Write([]byte(part))
	}
	for _, n := range numbers {
		h.Write(binary.BigEndian.AppendUint32(nil, n))
	}
	return [16]byte(h.Sum(nil)[:16])
}

// pairID is the id of the pair of a policy's name.
func pairID(name string) datapath.PairID { return hashID("pair", name) }

// order is the place in the SPD of the policy with an index in the file. Zero would be behind all.
func order(index int) uint32 { return uint32(index) + 1 }

// pair is the pair of the policy with an index.
func (p *Policy) pair(index int) datapath.Pair {
	return datapath.Pair{ID: pairID(p.Name), RemoteHost: p.Name, Policy: p.Name, Local: p.Local, Remote: p.Remote,
		Path: p.Protection.Path, Order: order(index), Populate: p.Protection.Populate}
}

// rules are the policies that protect nothing.
func rules(policies []Policy) (all []datapath.Rule) {
	for i, p := range policies {
		if p.Protection == nil {
			all = append(all, datapath.Rule{ID: hashID("rule", p.Name, order(i), uint32(p.Action)), Order: order(i),
				Bypass: p.Action == spd.Bypass, Local: p.Local, Remote: p.Remote})
		}
	}
	return all
}

// desired is what the system does with the policies: it leads to the TUN what is protected, and drops that in
// clear.
func desired(policies []Policy, discardRest bool) netio.Desired {
	d := netio.Desired{DiscardRest: discardRest}
	for _, p := range policies {
		d.Policies = append(d.Policies, netio.Policy{Action: p.Action, Local: p.Local, Remote: p.Remote})
	}
	return d
}

// said names an SA: the generation of a policy's pair in a direction.
func said(policy string, inbound bool, generation uint32) datapath.SAID {
	label := "outbound SA"
	if inbound {
		label = "inbound SA"
	}
	return hashID(label, policy, generation)
}

// install is the SA as the datapath takes it; its key is s's memory.
func (s *SA) install(policy string, inbound bool, generation uint32) datapath.SA {
	sa := s.Spec
	sa.ID, sa.Pair, sa.Generation, sa.Key = said(policy, inbound, generation), pairID(policy), generation, s.Keymat
	return sa
}

// same reports whether two SAs are alike, keys too. Their key material may have been cleared.
func (s *SA) same(o *SA) bool { return s.whole == o.whole && reflect.DeepEqual(s.Spec, o.Spec) }
