package keying

import (
	"slices"
	"time"

	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikeid"
)

// maxOfIdentity is how many IKE SAs one identity of a peer may have.
const maxOfIdentity = 16

// bound ends the oldest IKE SAs of an identity that has too many: whoever is authenticated must not fill us with them.
func (r *reign) bound(a *association, x ike.Established) {
	others := r.associations(func(o *association) bool {
		return o != a && o.peer() == a.peer() && o.established() && ikeid.Equal(o.status().RemoteID, x.RemoteID)
	})
	slices.SortFunc(others, func(a, b *association) int { return a.status().Established.Compare(b.status().Established) })
	for _, o := range others[:max(0, len(others)-maxOfIdentity+1)] {
		r.spawn(func() {
			o.order(func(o *association, _ time.Time) error {
				o.giveUp("the peer has newer ones, and too many")
				return nil
			})
		})
	}
}
