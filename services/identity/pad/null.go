package pad

import (
	"fmt"

	"sallyport.dev/sallyport/services/protocol/spd"
)

// isolateNull takes from entries of NULL authentication all addresses that another entry authorises, whatever
// protocol and ports it authorises there: nobody who is nobody gets a packet of somebody's.
func (d *Database) isolateNull() error {
	for _, e := range d.entries {
		if !e.Accept.Null {
			continue
		}
		left := e.Selectors
		for _, other := range d.entries {
			if other.Accept.Null {
				continue
			}
			for _, taken := range other.Selectors {
				left = without(left, taken)
			}
		}
		if len(left) == 0 && len(e.Selectors) > 0 {
			return fmt.Errorf("%w: peer %q accepts NULL authentication, and other peers authorise all of its selectors", ErrConfig, e.Name)
		}
		e.Selectors = left
	}
	return nil
}

// without returns the selectors without the addresses of one.
func without(all []spd.Selector, taken spd.Selector) []spd.Selector {
	var left []spd.Selector
	for _, s := range all {
		for _, r := range (spd.Range{First: s.First, Last: s.Last}).Without(spd.Range{First: taken.First, Last: taken.Last}) {
			s.First, s.Last = r.First, r.Last
			left = append(left, s)
		}
	}
	return left
}
