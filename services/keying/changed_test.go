package keying

import (
	"context"
	"testing"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/store"
)

// TestChangeWhileNobodyKeys: what an operator forbids between two reigns is forbidden in the next one.
func TestChangeWhileNobodyKeys(t *testing.T) {
	for name, change := range map[string]func(f *fixture){
		"another identity": func(f *fixture) { f.peer(func(s *operatorv1.PeerSpec) { s.Remote.Id = "another.example.org" }) },
		"deleted": func(f *fixture) {
			revision, err := f.store.Commit(context.Background(), store.Txn{Deletes: []string{store.SpecPrefix + "peer/office"}})
			must(f.t, err)
			must(f.t, f.feed.WaitRevision(context.Background(), revision))
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := up(t)
			f.stop()
			change(f)
			f.start()
			f.eventually("the IKE SA is gone, and its children with it", func() bool {
				return f.count(store.IKESAPrefix)+f.count(store.IKEStatePrefix)+f.count(store.IKEChildPrefix) == 0
			})
		})
	}
}

// TestNewPolicyOutlivesARestart: a change of children is in the snapshot at once.
func TestNewPolicyOutlivesARestart(t *testing.T) {
	f, r := up(t)
	f.peer(func(s *operatorv1.PeerSpec) { s.Children[0].ReplayWindow = 4096 })
	reign, err := f.service.leading()
	must(t, err)
	f.eventually("the new policy is there", func() bool {
		return len(reign.associations(func(a *association) bool { return a.current() })) == 1
	})
	f.stop()
	f.start()
	f.agent = f.relay("gw", 1)
	r.agent = f.agent
	r.until("it is asked for a sign of life", func() bool { return len(r.sent) > 2 })
	if f.count(store.IKEStatePrefix) != 1 || r.closed != nil {
		t.Error("the IKE SA has ended")
	}
}
