package operator

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

// watcher is one Watch call.
type watcher struct {
	t      *testing.T
	stream operatorv1.ResourceService_WatchClient
	last   int64
}

func (f *fleet) watch(req *operatorv1.WatchRequest) *watcher {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.ctx)
	f.t.Cleanup(cancel)
	stream, err := f.resources.Watch(ctx, req)
	if err != nil {
		f.t.Fatal(err)
	}
	return &watcher{t: f.t, stream: stream}
}

func (w *watcher) next() string {
	w.t.Helper()
	m, err := w.stream.Recv()
	if err != nil {
		w.t.Fatalf("watch: %s", describeErr(err))
	}
	if m.GetRevision() < w.last {
		w.t.Errorf("revision %d after %d", m.GetRevision(), w.last)
	}
	w.last = m.GetRevision()
	kind := strings.ToLower(strings.TrimPrefix(m.GetType().String(), "CHANGE_TYPE_"))
	if m.GetResource() == nil {
		return kind
	}
	k, md := kindOf(m.GetResource())
	return fmt.Sprintf("%s %s/%s", kind, kindName(k), md.GetName())
}

// expect reads messages and compares them, bookmarks aside unless they are expected.
func (w *watcher) expect(want ...string) {
	w.t.Helper()
	for _, one := range want {
		got := w.next()
		for got == "bookmark" && one != "bookmark" {
			got = w.next()
		}
		if got != one {
			w.t.Fatalf("watch says %q, want %q", got, one)
		}
	}
}

func (f *fleet) update(r *operatorv1.Resource) *operatorv1.Resource {
	f.t.Helper()
	resp, err := f.resources.Update(f.ctx, &operatorv1.UpdateRequest{Resource: r})
	if err != nil {
		f.t.Fatalf("update: %s", describeErr(err))
	}
	return resp.GetResource()
}

func (f *fleet) remove(k operatorv1.Kind, name string) {
	f.t.Helper()
	if _, err := f.resources.Delete(f.ctx, &operatorv1.DeleteRequest{Kind: k, Name: name}); err != nil {
		f.t.Fatalf("delete: %s", describeErr(err))
	}
}

func TestWatch(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("a", nil))
	f.create(policyResource("p", "*"))
	w := f.watch(&operatorv1.WatchRequest{Kinds: []operatorv1.Kind{kindHost, kindPolicy}})
	w.expect("added Host/a", "added Policy/p", "bookmark")

	b := f.create(hostResource("b", nil))
	w.expect("added Host/b")
	f.connect("b", 1)
	w.expect("modified Host/b")
	b.GetHost().Metadata.Labels = map[string]string{"x": "y"}
	f.update(b)
	w.expect("modified Host/b")
	f.remove(kindHost, "a")
	w.expect("deleted Host/a")
	f.remove(kindPolicy, "p")
	w.expect("deleted Policy/p")

	all := f.watch(&operatorv1.WatchRequest{})
	all.expect("added Host/b")
	if got := all.next(); !strings.HasPrefix(got, "added Event/") {
		t.Errorf("a watch of all kinds goes on with %q, want the events", got)
	}
}

// TestWatchSelector: what moves into the selection is added, what leaves it deleted.
func TestWatchSelector(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("other", nil))
	h := f.create(hostResource("h", nil))
	w := f.watch(&operatorv1.WatchRequest{Kinds: []operatorv1.Kind{kindHost}, Selector: "site=a"})
	w.expect("bookmark")
	h.GetHost().Metadata.Labels = map[string]string{"site": "a"}
	h = f.update(h)
	w.expect("added Host/h")
	h.GetHost().Metadata.Labels["x"] = "y"
	h = f.update(h)
	w.expect("modified Host/h")
	h.GetHost().Metadata.Labels["site"] = "b"
	f.update(h)
	w.expect("deleted Host/h")
}

func TestWatchFromRevision(t *testing.T) {
	f := newFleet(t)
	f.create(hostResource("old", nil))
	f.create(hostResource("gone", nil))
	start := f.list(&operatorv1.ListRequest{Kind: kindHost}).GetRevision()
	f.create(hostResource("new", nil))
	f.create(hostResource("brief", nil))
	f.remove(kindHost, "brief")
	f.remove(kindHost, "gone")
	f.connect("old", 1)

	w := f.watch(&operatorv1.WatchRequest{Kinds: []operatorv1.Kind{kindHost}, StartRevision: start})
	// Status keys come first in the order of keys.
	w.expect("modified Host/old", "deleted Host/gone", "added Host/new", "bookmark")
	f.create(hostResource("late", nil))
	w.expect("added Host/late")

}

// TestWatchCompacted: etcd has forgotten what happened; the client has to list again.
func TestWatchCompacted(t *testing.T) {
	f := newFleet(t)
	start := f.create(hostResource("a", nil)).GetHost().GetMetadata().GetRevision()
	kept := f.create(hostResource("b", nil)).GetHost().GetMetadata().GetRevision()
	if _, err := storetest.Client(t).Compact(f.ctx, kept); err != nil {
		t.Fatal(err)
	}
	_, err := f.watch(&operatorv1.WatchRequest{StartRevision: start}).stream.Recv()
	wantRefusal(t, err, codes.OutOfRange, "list again")
	f.watch(&operatorv1.WatchRequest{Kinds: []operatorv1.Kind{kindHost}, StartRevision: kept}).expect("bookmark")
	_, err = f.watch(&operatorv1.WatchRequest{StartRevision: kept + 1_000_000}).stream.Recv()
	wantRefusal(t, err, codes.OutOfRange, "another life")
	_, err = f.watch(&operatorv1.WatchRequest{Selector: "(("}).stream.Recv()
	wantRefusal(t, err, codes.InvalidArgument)
}

// TestWatchAssociations: names of associations stay when a host is gone.
func TestWatchAssociations(t *testing.T) {
	f := newFleet(t)
	for i, name := range []string{"a", "b"} {
		f.create(hostResource(name, nil))
		f.connect(name, byte(i+1))
	}
	f.create(policyResource("mesh", "*"))
	w := f.watch(&operatorv1.WatchRequest{Kinds: []operatorv1.Kind{kindSA}})
	w.expect("bookmark")
	pair := f.establish("a", "b", 1, plan.Established)
	name := fmt.Sprintf("%s.%010d", pair, 1)
	seen := map[string]bool{w.next(): true, w.next(): true}
	if !seen["added SecurityAssociation/"+name+".a"] || !seen["added SecurityAssociation/"+name+".b"] {
		t.Errorf("watch says %v", seen)
	}
	f.remove(kindHost, "b")
	f.commit(store.Txn{Deletes: []string{store.SAPhaseKey(store.PairID(pair), 1)}})
	seen = map[string]bool{w.next(): true, w.next(): true}
	if !seen["deleted SecurityAssociation/"+name+".a"] || !seen["deleted SecurityAssociation/"+name+".b"] {
		t.Errorf("watch says %v", seen)
	}
}

func TestWatchBookmarks(t *testing.T) {
	f := newFleet(t)
	f.service.limits.bookmark = 20 * time.Millisecond
	w := f.watch(&operatorv1.WatchRequest{Kinds: []operatorv1.Kind{kindPolicy}})
	w.expect("bookmark")
	revision := f.create(hostResource("unwatched", nil)).GetHost().GetMetadata().GetRevision()
	for w.last < revision {
		w.expect("bookmark")
	}
	f.create(policyResource("p", "*"))
	w.expect("added Policy/p")
	// A watch from the bookmark misses nothing and repeats nothing.
	again := f.watch(&operatorv1.WatchRequest{Kinds: []operatorv1.Kind{kindPolicy}, StartRevision: revision})
	again.expect("added Policy/p", "bookmark")
}

// TestBookmarksLoseNothing lets bookmarks and changes come at the same time.
func TestBookmarksLoseNothing(t *testing.T) {
	f := newFleet(t)
	f.service.limits.bookmark = 20 * time.Microsecond
	w := f.watch(&operatorv1.WatchRequest{Kinds: []operatorv1.Kind{kindPolicy}})
	w.expect("bookmark")
	for i := range 200 {
		f.put(map[string]proto.Message{fmt.Sprintf("spec/policy/p-%d", i): policyResource(fmt.Sprintf("p-%d", i), "*").GetPolicy()})
		w.expect(fmt.Sprintf("added Policy/p-%d", i))
	}
}

// TestSlowWatcherIsEnded: one that does not read is ended and holds up nobody.
func TestSlowWatcherIsEnded(t *testing.T) {
	f := newFleet(t)
	f.service.limits.buffer, f.service.limits.patience = 4, 100*time.Millisecond
	slow := f.watch(&operatorv1.WatchRequest{Kinds: []operatorv1.Kind{kindHost}})
	slow.expect("bookmark")
	quick := f.watch(&operatorv1.WatchRequest{Kinds: []operatorv1.Kind{kindPolicy}})
	quick.expect("bookmark")

	// More than gRPC's flow control and the buffer hold: 64 KiB and a few messages.
	labels := map[string]string{}
	for i := range 60 {
		labels[fmt.Sprintf("label-%d", i)] = strings.Repeat("v", 60)
	}
	for i := range 60 {
		f.create(hostResource(fmt.Sprintf("h-%d", i), labels))
	}
	f.create(policyResource("p", "*"))
	quick.expect("added Policy/p")
	f.eventually("the end of the slow watcher", func() bool { return f.streams.Load() == 1 })
	var err error
	for n := 0; err == nil; n++ {
		if _, err = slow.stream.Recv(); n > 60 {
			t.Fatal("the slow watcher got everything")
		}
	}
	if r := refusalOf(err); r.code != codes.ResourceExhausted || r.reason != ReasonSlowWatcher {
		t.Errorf("the slow watcher got %+v", r)
	}
}

func TestRecreatedHostIsDeletedAndAdded(t *testing.T) {
	f := newFleet(t)
	start := f.create(hostResource("h", nil)).GetHost().GetMetadata().GetRevision()
	before := f.get(kindHost, "h").GetHost().GetMetadata().GetUid()
	f.remove(kindHost, "h")
	f.create(hostResource("h", nil))
	w := f.watch(&operatorv1.WatchRequest{Kinds: []operatorv1.Kind{kindHost}, StartRevision: start})
	m, err := w.stream.Recv()
	if err != nil || m.GetType() != deleted || m.GetResource().GetHost().GetMetadata().GetUid() != before {
		t.Errorf("first %v, %v, want the old one deleted", m, err)
	}
	if m, err = w.stream.Recv(); err != nil || m.GetType() != added || m.GetResource().GetHost().GetMetadata().GetUid() == before {
		t.Errorf("then %v, %v, want the new one added", m, err)
	}
}
