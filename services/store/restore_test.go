package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

// populate fills a store with one key of each group, and many hosts.
func populate(t *testing.T, s *store.Store, hosts int) {
	t.Helper()
	pair := store.PairID{1}
	put(t, s, "fleet", "f", "ipam", "i", "spec/policy/p", "1", "status/policy/p", "1",
		"identity/ca/1", string(must(s.Seal("identity/ca/1", []byte("ca key")))(t)),
		"identity/host/host-0", "k", "identity/host/host-1", "k", "identity/host/host-2", "k", "identity/operator/alice", "k",
		"manual/guard", "1", "manual/phase/host-1/x", "phase", "spec/manualpeer/m", "1", "status/manualpeer/m", "1",
		"manual/key/m", string(must(s.Seal("manual/key/m", []byte("manual keys")))(t)),
		"identity/token/t1", "secret", "spec/jointoken/t1", "1", "status/jointoken/t1", "1",
		"epoch/host-1", "e", "live/host-1", "l", "event/1", "e", "intent/confirm/x", "r", "leader/planner/1", "x",
		store.SAKey(pair, 1), "sealed", store.SAPhaseKey(pair, 1), "phase")
	var all []string
	for i := range hosts {
		name := fmt.Sprintf("host-%d", i)
		all = append(all, "spec/host/"+name, strings.Repeat("s", i%50), "status/host/"+name, "up")
	}
	for chunk := range slices.Chunk(all, 2*store.MaxTxnOps) {
		put(t, s, chunk...)
	}
}

// kept is what of a content a restore brings back.
func kept(all map[string]string, revoked ...string) map[string]string {
	out := maps.Clone(all)
	maps.DeleteFunc(out, func(key, _ string) bool {
		for _, p := range []string{"incarnation", "restoring", "identity/token/", "spec/jointoken/", "status/jointoken/", "epoch/", "live/", "event/", "intent/", "leader/", "sa/"} {
			if strings.HasPrefix(key, p) {
				return true
			}
		}
		return slices.Contains(revoked, key)
	})
	return out
}

func backup(t *testing.T, s *store.Store) []byte {
	t.Helper()
	var out bytes.Buffer
	info := must(s.Backup(bounded(t), &out))(t)
	if info.Keys == 0 || info.Revision == 0 {
		t.Fatalf("backup %+v", info)
	}
	return out.Bytes()
}

func restoreOptions() store.RestoreOptions {
	return store.RestoreOptions{Now: time.Now(), WithoutAudit: true}
}

// same compares two contents without the incarnation.
func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	got = maps.Clone(got)
	delete(got, store.IncarnationKey)
	if maps.Equal(got, want) {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: %s should not be there", what, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			t.Errorf("%s: %s is %q, want %q", what, key, got[key], want[key])
		}
	}
}

func TestBackupRestoreRoundTrip(t *testing.T) {
	s := storetest.New(t)
	old := must(s.Begin(bounded(t)))(t)
	populate(t, s, 300)
	want := kept(contents(t, s))
	saved := backup(t, s)
	running := storetest.Another(t, s) // a controller that does not know of the restore
	must(running.Begin(bounded(t)))(t)
	v := view(t, running)

	put(t, s, "spec/host/new", "after the backup", "spec/host/host-5", "changed", store.SAKey(store.PairID{2}, 1), "x")
	remove(t, s, "spec/host/host-7", "fleet")

	report := must(s.Restore(bounded(t), bytes.NewReader(saved), restoreOptions()))(t)
	same(t, "restored", contents(t, s), want)
	if report.Incarnation.Number <= old.Number || report.Tokens != 1 || report.Written != len(want) || report.Backup.Incarnation != old.Number {
		t.Errorf("report %+v, want an incarnation above %d, 1 token, %d keys", report, old.Number, len(want))
	}
	if ca, err := s.Unseal("identity/ca/1", []byte(contents(t, s)["identity/ca/1"])); err != nil || string(ca) != "ca key" {
		t.Errorf("sealed value: %q, %v", ca, err)
	}
	if keys, err := s.Unseal("manual/key/m", []byte(contents(t, s)["manual/key/m"])); err != nil || string(keys) != "manual keys" {
		t.Errorf("manual keys: %q, %v", keys, err)
	}

	waitDone(t, "the old controller's view", v.Done())
	if err := v.Err(); !errors.Is(err, store.ErrIncarnation) {
		t.Errorf("the old controller's view: %v, want ErrIncarnation", err)
	}
	for name, fencedOff := range map[string]*store.Store{"another": running, "the restoring one": s} {
		if _, err := fencedOff.Commit(bounded(t), store.Txn{Puts: []store.Put{{Key: "fleet"}}}); !errors.Is(err, store.ErrIncarnation) {
			t.Errorf("%s process of the old incarnation writes: %v, want ErrIncarnation", name, err)
		}
	}
	inc := must(running.Begin(bounded(t)))(t)
	if inc != report.Incarnation {
		t.Errorf("began %+v, want %+v", inc, report.Incarnation)
	}
	put(t, running, "fleet", "again")

	// A second restore of the same backup goes higher still, within one second.
	again := must(running.Restore(bounded(t), bytes.NewReader(saved), restoreOptions()))(t)
	if again.Incarnation.Number <= inc.Number {
		t.Errorf("incarnation %d after %d", again.Incarnation.Number, inc.Number)
	}
}

// A backup goes into an empty database, as after a lost disk.
func TestRestoreIntoEmpty(t *testing.T) {
	s := storetest.New(t)
	old := must(s.Begin(bounded(t)))(t)
	populate(t, s, 3)
	want := kept(contents(t, s))
	saved := backup(t, s)
	e := must(store.StartEmbedded(store.EmbeddedConfig{DataDir: shortDir(t)}))(t)
	t.Cleanup(func() { e.Close() })
	fresh := must(store.Open(bounded(t), store.Config{Endpoints: e.Endpoints(), Prefix: s.Prefix(), Keys: s.Keys()}))(t)
	t.Cleanup(func() { fresh.Close() })
	report := must(fresh.Restore(bounded(t), bytes.NewReader(saved), store.RestoreOptions{Now: time.Unix(5, 0), WithoutAudit: true}))(t)
	same(t, "restored", contents(t, fresh), want)
	if report.Incarnation.Number != old.Number+1 {
		t.Errorf("incarnation %d with a slow clock, want %d", report.Incarnation.Number, old.Number+1)
	}
}

func TestBackupNeedsAnIncarnation(t *testing.T) {
	s := storetest.New(t)
	put(t, s, "fleet", "f")
	if _, err := s.Backup(bounded(t), &bytes.Buffer{}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("without an incarnation: %v, want ErrNotFound", err)
	}
	put(t, s, store.RestoringKey, "{}")
	if _, err := s.Backup(bounded(t), &bytes.Buffer{}); !errors.Is(err, store.ErrRestoring) {
		t.Errorf("in the middle of a restore: %v, want ErrRestoring", err)
	}
}

func TestDamagedBackupWritesNothing(t *testing.T) {
	s := storetest.New(t)
	must(s.Begin(bounded(t)))(t)
	populate(t, s, 2)
	saved := backup(t, s)
	head := must(s.HeadRevision(bounded(t)))(t)
	before := contents(t, s)
	refused := func(what string, stream []byte) {
		t.Helper()
		if _, err := s.Restore(bounded(t), bytes.NewReader(stream), restoreOptions()); !errors.Is(err, store.ErrBackup) {
			t.Errorf("%s: %v, want ErrBackup", what, err)
		}
	}
	for n := range saved {
		refused(fmt.Sprintf("first %d bytes", n), saved[:n])
	}
	for i := range saved {
		bad := bytes.Clone(saved)
		bad[i] ^= 1 << (i % 8)
		refused(fmt.Sprintf("byte %d", i), bad)
	}
	refused("a byte more", append(bytes.Clone(saved), 0))
	refused("twice", append(bytes.Clone(saved), saved...))
	if now := must(s.HeadRevision(bounded(t)))(t); now != head || !maps.Equal(contents(t, s), before) {
		t.Errorf("something was written: head %d, was %d", now, head)
	}
}

func TestRestoreRefusesForeignBackups(t *testing.T) {
	s := storetest.New(t)
	must(s.Begin(bounded(t)))(t)
	put(t, s, "fleet", "f")
	saved := backup(t, s)
	tests := []struct {
		name string
		c    store.Config
		want string
	}{
		{"another prefix", store.Config{Prefix: "/test/foreign/", Keys: s.Keys()}, "made under " + s.Prefix()},
		{"another root key", store.Config{Prefix: s.Prefix(), Keys: storetest.Keyring(t)}, "another root key"},
		{"no root key", store.Config{Prefix: s.Prefix()}, "another root key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Endpoints = s.Endpoints()
			other := must(store.Open(bounded(t), tt.c))(t)
			t.Cleanup(func() { other.Close() })
			_, err := other.Restore(bounded(t), bytes.NewReader(saved), restoreOptions())
			if !errors.Is(err, store.ErrBackup) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrBackup with %q", err, tt.want)
			}
		})
	}
	if _, err := s.Restore(bounded(t), bytes.NewReader(saved), store.RestoreOptions{Now: time.Now()}); err == nil || !strings.Contains(err.Error(), "audit file") {
		t.Errorf("without an audit file: %v", err)
	}
	// A backup that anybody can make, without the root key, is not accepted.
	bare := must(store.Open(bounded(t), store.Config{Endpoints: s.Endpoints(), Prefix: s.Prefix()}))(t)
	t.Cleanup(func() { bare.Close() })
	var forged bytes.Buffer
	must(bare.Backup(bounded(t), &forged))(t)
	if _, err := s.Restore(bounded(t), &forged, restoreOptions()); !errors.Is(err, store.ErrBackup) {
		t.Errorf("a backup without the root key's mark: %v, want ErrBackup", err)
	}
}

func TestRestoreReplaysRevocations(t *testing.T) {
	clock := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	base := storetest.New(t)
	s := must(store.Open(bounded(t), store.Config{Endpoints: base.Endpoints(), Prefix: base.Prefix(), Keys: base.Keys(), Now: func() time.Time { return clock }}))(t)
	t.Cleanup(func() { s.Close() })
	must(s.Begin(bounded(t)))(t)
	a := must(store.OpenAudit(filepath.Join(t.TempDir(), "audit"), func() time.Time { return clock }))(t)
	populate(t, s, 10)
	revoke := func(kind store.AuditKind, name string, deletes ...string) {
		t.Helper()
		must(s.CommitAudited(bounded(t), a, store.Txn{Deletes: deletes}, store.AuditEntry{Kind: kind, Name: name}))(t)
	}
	// Long before the backup: removed, and joined again. This must stay.
	revoke(store.AuditHostRemoved, "host-0", "spec/host/host-0", "status/host/host-0", "identity/host/host-0")
	clock = clock.Add(time.Hour)
	put(t, s, "spec/host/host-0", "again", "status/host/host-0", "up", "identity/host/host-0", "new key")
	saved := backup(t, s)
	want := kept(contents(t, s), "spec/host/host-1", "status/host/host-1", "identity/host/host-1",
		"identity/host/host-2", "identity/operator/alice", "identity/ca/1", "spec/manualpeer/m", "status/manualpeer/m", "manual/key/m")
	clock = clock.Add(-2 * time.Hour) // a clock that steps back hides nothing: revisions count too
	revoke(store.AuditHostRemoved, "host-1", "spec/host/host-1", "status/host/host-1", "identity/host/host-1")
	clock = clock.Add(3 * time.Hour)
	revoke(store.AuditHostKeyRevoked, "host-2", "identity/host/host-2")
	revoke(store.AuditOperatorRevoked, "alice", "identity/operator/alice")
	revoke(store.AuditCARevoked, "1", "identity/ca/1")
	revoke(store.AuditManualPeerRemoved, "m", "spec/manualpeer/m", "status/manualpeer/m", "manual/key/m")
	revoke(store.AuditTokenRevoked, "t1", "identity/token/t1")

	report := must(s.Restore(bounded(t), bytes.NewReader(saved), store.RestoreOptions{Now: clock, Audit: a}))(t)
	same(t, "restored", contents(t, s), want)
	var replayed []string
	for _, e := range report.Replayed {
		replayed = append(replayed, e.Name)
	}
	if fmt.Sprint(replayed) != "[host-1 host-2 alice 1 m t1]" {
		t.Errorf("replayed %v", replayed)
	}

	// What is revoked after that restore is newer than the same backup as well.
	must(s.Begin(bounded(t)))(t)
	clock = clock.Add(-24 * time.Hour)
	revoke(store.AuditHostRemoved, "host-3", "spec/host/host-3", "status/host/host-3")
	must(s.Restore(bounded(t), bytes.NewReader(saved), store.RestoreOptions{Now: clock, Audit: a}))(t)
	delete(want, "spec/host/host-3")
	delete(want, "status/host/host-3")
	same(t, "restored again", contents(t, s), want)
}

func TestDamagedAuditStopsTheRestore(t *testing.T) {
	s := storetest.New(t)
	must(s.Begin(bounded(t)))(t)
	put(t, s, "fleet", "f")
	saved := backup(t, s)
	a, path, _ := auditFile(t)
	keyFile(t, path, 100, 0o600) // zeros
	if err := appendFile(path, "\n"); err != nil {
		t.Fatal(err)
	}
	head := must(s.HeadRevision(bounded(t)))(t)
	if _, err := s.Restore(bounded(t), bytes.NewReader(saved), store.RestoreOptions{Now: time.Now(), Audit: a}); !errors.Is(err, store.ErrAudit) {
		t.Errorf("error %v, want ErrAudit", err)
	}
	if now := must(s.HeadRevision(bounded(t)))(t); now != head {
		t.Error("something was written")
	}
}

// crashing opens a store on s's prefix whose process dies at its n-th
// transaction: before it is sent, or after etcd has applied it but before the
// answer is read.
func crashing(t *testing.T, s *store.Store, n int, applied bool) (*store.Store, context.Context) {
	t.Helper()
	ctx, die := context.WithCancel(bounded(t))
	t.Cleanup(die)
	count := 0
	intercept := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if method != "/etcdserverpb.KV/Txn" {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		if count++; count < n {
			return invoke(ctx, method, req, reply, cc, opts...)
		}
		if applied {
			if err := invoke(ctx, method, req, reply, cc, opts...); err != nil {
				return err
			}
		}
		die()
		return ctx.Err()
	}
	c := store.Config{Endpoints: s.Endpoints(), Prefix: s.Prefix(), Keys: s.Keys()}
	dying := must(store.Open(bounded(t), store.WithDialOptions(c, grpc.WithChainUnaryInterceptor(intercept))))(t)
	t.Cleanup(func() { dying.Close() })
	return dying, ctx
}

// The process dies at every transaction of a restore in turn. Each time the
// store either is as it was, or refuses to begin, or is restored whole; and
// running the restore again always ends well.
func TestRestoreCrashesAnywhere(t *testing.T) {
	s := storetest.New(t)
	must(s.Begin(bounded(t)))(t)
	populate(t, s, 100)
	want := kept(contents(t, s))
	saved := backup(t, s)
	last := must(s.ReadIncarnation(bounded(t)))(t).Number
	crashed := 0
	for n := 1; ; n++ {
		finished := false
		for _, applied := range []bool{false, true} {
			current := storetest.Another(t, s)
			must(current.Begin(bounded(t)))(t)
			populate(t, current, 100)
			put(t, current, "spec/host/later", "x")
			before := contents(t, current)

			dying, ctx := crashing(t, s, n, applied)
			report, err := dying.Restore(ctx, bytes.NewReader(saved), restoreOptions())
			finished = err == nil
			what := fmt.Sprintf("crash at transaction %d, applied %v", n, applied)
			if finished {
				same(t, what+": uncrashed", contents(t, s), want)
				break
			}
			crashed++
			_, beginErr := storetest.Another(t, s).Begin(bounded(t))
			switch {
			case n == 1 && !applied:
				if beginErr != nil || !maps.Equal(contents(t, s), before) {
					t.Errorf("%s: Begin %v, or the content has changed", what, beginErr)
				}
			case beginErr == nil: // the very last step was applied
				same(t, what+": finished", contents(t, s), want)
			case !errors.Is(beginErr, store.ErrRestoring):
				t.Errorf("%s: Begin: %v, want ErrRestoring", what, beginErr)
			default:
				if _, err := current.Commit(bounded(t), store.Txn{Puts: []store.Put{{Key: "fleet"}}}); !errors.Is(err, store.ErrIncarnation) {
					t.Errorf("%s: the old controller writes: %v, want ErrIncarnation", what, err)
				}
			}
			report, err = storetest.Another(t, s).Restore(bounded(t), bytes.NewReader(saved), restoreOptions())
			if err != nil {
				t.Fatalf("%s: again: %v", what, err)
			}
			same(t, what+": again", contents(t, s), want)
			if report.Incarnation.Number <= last {
				t.Errorf("%s: incarnation %d after %d", what, report.Incarnation.Number, last)
			}
			last = report.Incarnation.Number
		}
		if finished {
			break
		}
	}
	if crashed < 10 { // marker, 2 or more of wiping, 2 or more of writing, the end; twice
		t.Errorf("only %d crash points", crashed)
	}
}

// A restore that was taken over stops at its next write.
func TestTwoRestoresAtOnce(t *testing.T) {
	s := storetest.New(t)
	must(s.Begin(bounded(t)))(t)
	populate(t, s, 100)
	want := kept(contents(t, s))
	saved := backup(t, s)
	reached, resume := make(chan struct{}), make(chan struct{})
	count := 0
	intercept := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if method == "/etcdserverpb.KV/Txn" {
			if count++; count == 4 { // the first that writes keys of the backup
				close(reached)
				<-resume
			}
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	c := store.Config{Endpoints: s.Endpoints(), Prefix: s.Prefix(), Keys: s.Keys()}
	slow := must(store.Open(bounded(t), store.WithDialOptions(c, grpc.WithChainUnaryInterceptor(intercept))))(t)
	t.Cleanup(func() { slow.Close() })
	failed := make(chan error, 1)
	go func() {
		_, err := slow.Restore(bounded(t), bytes.NewReader(saved), restoreOptions())
		failed <- err
	}()
	<-reached
	must(s.Restore(bounded(t), bytes.NewReader(saved), restoreOptions()))(t)
	must(s.Begin(bounded(t)))(t)
	put(t, s, "spec/host/host-0", "newer")
	want["spec/host/host-0"] = "newer"
	close(resume)
	if err := <-failed; !errors.Is(err, store.ErrConflict) {
		t.Errorf("the slower restore: %v, want ErrConflict", err)
	}
	same(t, "restored", contents(t, s), want)
}
