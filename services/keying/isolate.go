package keying

import (
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/ike"
	"sallyport.dev/sallyport/services/protocol/ikewire"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// isolate takes from the policy of a peer of NULL authentication all addresses that another peer authorises, whatever
// protocol and ports it authorises there, as the PAD does: nobody who is nobody gets a packet of somebody's. A child of
// which nothing is left goes.
func (r *reign) isolate(p *ike.Policy) {
	var taken []ikewire.TrafficSelector
	r.eachPeer(func(_ string, other *operatorv1.Peer) {
		if other.GetSpec().GetRemote().GetMethod() == "null" {
			return
		}
		for _, c := range other.GetSpec().GetChildren() {
			if all, err := trafficSelectors(c.GetRemote()); err == nil {
				taken = append(taken, all...)
			}
		}
	})
	children := p.Children
	p.Children = nil
	for _, c := range children {
		for _, t := range taken {
			c.Remote = without(c.Remote, t)
		}
		if len(c.Remote) > 0 {
			p.Children = append(p.Children, c)
		}
	}
}

// without returns the selectors without the addresses of one.
func without(all []ikewire.TrafficSelector, taken ikewire.TrafficSelector) (left []ikewire.TrafficSelector) {
	for _, s := range all {
		for _, r := range (spd.Range{First: s.Start, Last: s.End}).Without(spd.Range{First: taken.Start, Last: taken.End}) {
			s.Start, s.End = r.First, r.Last
			left = append(left, s)
		}
	}
	return left
}
