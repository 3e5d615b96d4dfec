package planner_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/planner"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

// etcd goes away while there is work, and comes back: the planner tries now and then, and goes on.
func TestOutage(t *testing.T) {
	dir, err := os.MkdirTemp("", "spout-*") // short, for the socket's sake
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	start := func() *store.Embedded {
		e, err := store.StartEmbedded(store.EmbeddedConfig{DataDir: filepath.Join(dir, "etcd")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		return e
	}
	etcd := start()
	s, err := store.Open(t.Context(), store.Config{
		Endpoints: etcd.Endpoints(), Prefix: "/outage/", Keys: storetest.Keyring(t), OpTimeout: 500 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	f := joinFleet(t, s)
	f.addHosts(1, 5)
	f.setMesh(time.Hour, 8*time.Hour)
	f.agents()
	var ahead atomic.Int64
	p, _ := f.planner(func(c *planner.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	f.eventually("4 hosts are up", time.Minute, f.up(4))

	etcd.Close()
	ahead.Store(int64(2 * time.Hour)) // every pair must be rekeyed now
	f.eventually("the planner meets the outage", time.Minute, func() bool { return p.Stats().Failures >= 2 })
	before, began := p.Stats().Failures, time.Now()
	<-time.After(2 * time.Second)
	if tries := p.Stats().Failures - before; tries > 10 {
		t.Errorf("%d tries in %v without etcd", tries, time.Since(began))
	}

	start()
	f.eventually("etcd answers", time.Minute, func() bool {
		_, err := s.HeadRevision(t.Context())
		return err == nil
	})
	f.eventually("the second generations are up", time.Minute, func() bool {
		gens := f.generations()
		for _, gs := range gens {
			if gs[len(gs)-1].Number != 2 || gs[len(gs)-1].Acks&0xf != 0xf {
				return false
			}
		}
		return len(gens) == 6
	})
}
