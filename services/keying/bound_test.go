package keying

import (
	"testing"

	"sallyport.dev/sallyport/services/store"
)

// TestOneIdentityIsBounded: an authenticated peer cannot fill the controller.
func TestOneIdentityIsBounded(t *testing.T) {
	f := newFixture(t, nil)
	for range maxOfIdentity + 3 {
		r := f.remote()
		r.call()
		r.until("it is authenticated", func() bool { return r.up })
	}
	f.eventually("the oldest have ended", func() bool { return f.count(store.IKEStatePrefix) <= maxOfIdentity })
}
