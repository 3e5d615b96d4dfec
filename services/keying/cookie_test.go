package keying

import (
	"net/netip"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/ike"
)

// TestForgedSourceFillsNothing: some first messages from a forged address do not keep its owner out.
func TestForgedSourceFillsNothing(t *testing.T) {
	f := newFixture(t, nil)
	reign, err := f.service.leading()
	must(t, err)
	for port := range uint16(2 * maxBegunOf) {
		flood := f.remote()
		m, err := ike.Initiate(time.Now(), flood.config(), ike.Path{Local: netip.AddrPortFrom(office, 1000+port), Remote: netip.AddrPortFrom(gateway, 500)})
		must(t, err)
		flood.machine = m
		flood.act()
	}
	f.eventually("the flood has arrived", func() bool {
		for len(f.agent.down) > 0 {
			<-f.agent.down
		}
		return len(f.agent.up) == 0
	})
	reign.mu.Lock()
	begun := len(reign.begun)
	reign.mu.Unlock()
	if begun > cookiesFromOf {
		t.Errorf("%d IKE SAs were begun without a cookie", begun)
	}
	r := f.remote()
	r.call()
	r.until("the owner of the address, which brings its cookie, is authenticated", func() bool { return r.up })
}
