package store_test

import (
	"fmt"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"sallyport.dev/sallyport/services/store"
)

// TestMaintainGivesSpaceBack: what was deleted and compacted leaves the file, and an alarm that is of no
// use any more goes.
func TestMaintainGivesSpaceBack(t *testing.T) {
	e := must(store.StartEmbedded(store.EmbeddedConfig{DataDir: shortDir(t)}))(t)
	t.Cleanup(func() { e.Close() })
	s := must(store.Open(bounded(t), store.Config{Endpoints: e.Endpoints()}))(t)
	t.Cleanup(func() { s.Close() })
	const least = 4 << 20
	if s.MaintainOnce(bounded(t), least) {
		t.Error("an empty database is defragmented")
	}
	value := strings.Repeat("x", 1<<19)
	var last int64
	for i := range 16 {
		var err error
		if last, err = s.Commit(bounded(t), store.Txn{Puts: []store.Put{{Key: "fleet", Value: []byte(fmt.Sprint(i, value))}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Compact(bounded(t), last); err != nil {
		t.Fatal(err)
	}
	if !s.MaintainOnce(bounded(t), least) {
		t.Fatalf("nothing was done about %+v", must(s.Status(bounded(t)))(t))
	}
	if after := must(s.Status(bounded(t)))(t).Endpoints[0]; after.Size > 2<<20 {
		t.Errorf("the database still has %d bytes, %d of them in use", after.Size, after.InUse)
	}
	if s.MaintainOnce(bounded(t), least) {
		t.Error("it is defragmented again for nothing")
	}
	if err := e.RaiseAlarm(bounded(t), etcdserverpb.AlarmType_NOSPACE); err != nil {
		t.Fatal(err)
	}
	if !s.MaintainOnce(bounded(t), least) {
		t.Error("the alarm stays although there is room")
	}
	put(t, s, "fleet", "x")
}
