package manual

import (
	"reflect"
	"slices"
)

// transition is the new policies with the old ones among them that protect and that the new ones lack: as long
// as their SAs are there, what they match is guarded. Each comes behind the policy that it followed.
//
//	old   ssh, branch, rest      new   ssh, office, rest      transition   ssh, branch, office, rest
func transition(old, now []Policy) []Policy {
	out := slices.Clone(now)
	at := 0 // behind the last policy that both have
	for _, o := range old {
		if i := slices.IndexFunc(out, func(p Policy) bool { return sameTraffic(&p, &o) }); i >= 0 {
			at = i + 1
		} else if o.Protection != nil {
			out = slices.Insert(out, at, o)
			at++
		}
	}
	return out
}

// sameTraffic: the same becomes of the same packets.
func sameTraffic(a, b *Policy) bool {
	return a.Action == b.Action && reflect.DeepEqual(a.Local, b.Local) && reflect.DeepEqual(a.Remote, b.Remote)
}
