package store_test

import (
	"errors"
	"path/filepath"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

func TestStatus(t *testing.T) {
	base := storetest.New(t)
	dead := "unix://" + filepath.Join(t.TempDir(), "none")
	s := must(store.Open(bounded(t), store.Config{Endpoints: append(base.Endpoints(), dead), Prefix: base.Prefix()}))(t)
	t.Cleanup(func() { s.Close() })
	status := must(s.Status(bounded(t)))(t)
	if len(status.Endpoints) != 2 || len(status.Alarms) != 0 {
		t.Fatalf("status %+v", status)
	}
	alive := status.Endpoints[0]
	if alive.Err != nil || !alive.Leader || !alive.HasLeader || alive.Term == 0 || alive.Size <= 0 || alive.InUse <= 0 ||
		alive.InUse > alive.Size || alive.Quota != 8<<30 || alive.Version == "" {
		t.Errorf("live endpoint: %+v", alive)
	}
	if gone := status.Endpoints[1]; gone.Endpoint != dead || !errors.Is(gone.Err, store.ErrUnavailable) {
		t.Errorf("dead endpoint: %+v", gone)
	}
}

func TestStatusWithoutEtcd(t *testing.T) {
	s, link := storetest.Linked(t, storetest.New(t))
	link.Cut()
	if _, err := s.Status(bounded(t)); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
}

// An embedded etcd of its own: the alarm is the whole member's.
func TestNoSpaceAlarm(t *testing.T) {
	e := must(store.StartEmbedded(store.EmbeddedConfig{DataDir: shortDir(t)}))(t)
	t.Cleanup(func() { e.Close() })
	s := must(store.Open(bounded(t), store.Config{Endpoints: e.Endpoints()}))(t)
	t.Cleanup(func() { s.Close() })
	if err := e.RaiseAlarm(bounded(t), etcdserverpb.AlarmType_NOSPACE); err != nil {
		t.Fatal(err)
	}
	if status := must(s.Status(bounded(t)))(t); !status.Alarmed("NOSPACE") {
		t.Fatalf("alarms %v, want NOSPACE", status.Alarms)
	}
	_, err := s.Commit(bounded(t), store.Txn{Puts: []store.Put{{Key: "fleet", Value: []byte("x")}}})
	if !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("a write: %v, want ErrNoSpace", err)
	}
	if err := s.Defragment(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if status := must(s.Status(bounded(t)))(t); len(status.Alarms) != 0 {
		t.Errorf("alarms after defragmentation: %v", status.Alarms)
	}
	put(t, s, "fleet", "x")
}
