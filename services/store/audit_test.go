package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

// auditFile is a fresh audit file with a settable clock.
func auditFile(t *testing.T) (*store.Audit, string, *time.Time) {
	t.Helper()
	now := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	return must(store.OpenAudit(path, func() time.Time { return now }))(t), path, &now
}

func TestAuditRoundTrip(t *testing.T) {
	a, path, now := auditFile(t)
	want := []store.AuditEntry{
		{Kind: store.AuditHostRemoved, Name: "host-1", Incarnation: 3, Revision: 17, Actor: "alice", Reason: "sold\n\"it\""},
		{Kind: store.AuditTokenRevoked, Name: "t1"},
	}
	for i, e := range want {
		*now = now.Add(time.Minute)
		want[i] = must(a.Append(e))(t)
		if want[i].ID == "" || !want[i].Time.Equal(*now) {
			t.Errorf("entry %+v has no id, or not the time %v", want[i], *now)
		}
	}
	got := must(must(store.OpenAudit(path, nil))(t).Read())(t)
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("read %+v, want %+v", got, want)
	}
	if mode := must(os.Stat(path))(t).Mode().Perm(); mode != 0o600 {
		t.Errorf("mode %v", mode)
	}
}

func TestAuditRefusesEntries(t *testing.T) {
	a, _, _ := auditFile(t)
	for _, e := range []store.AuditEntry{
		{}, {Kind: "unknown", Name: "a"}, {Kind: store.AuditHostRemoved}, {Kind: store.AuditHostRemoved, Name: "../x"},
		{Kind: store.AuditHostRemoved, Name: "a", Reason: strings.Repeat("x", 5000)},
	} {
		if _, err := a.Append(e); err == nil {
			t.Errorf("%+v was accepted", e)
		}
	}
	if got := must(a.Read())(t); len(got) != 0 {
		t.Errorf("written: %+v", got)
	}
}

// A crash may cut the last line at any byte. What was acknowledged before is
// read, the cut line is not, and what follows it is.
func TestAuditSurvivesATornLine(t *testing.T) {
	a, path, _ := auditFile(t)
	first := must(a.Append(store.AuditEntry{Kind: store.AuditHostRemoved, Name: "first"}))(t)
	whole := len(must(os.ReadFile(path))(t))
	must(a.Append(store.AuditEntry{Kind: store.AuditHostRemoved, Name: "second"}))(t)
	full := must(os.ReadFile(path))(t)
	for cut := whole; cut < len(full); cut++ {
		if err := os.WriteFile(path, full[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := a.Read(); err != nil || len(got) != 1 || got[0] != first {
			t.Fatalf("cut at %d: %+v, %v", cut, got, err)
		}
		third := must(a.Append(store.AuditEntry{Kind: store.AuditHostRemoved, Name: "third"}))(t)
		got, err := a.Read()
		// Cut before the newline only, the second line is whole after all.
		if err != nil || got[0] != first || got[len(got)-1] != third || (len(got) != 2 && cut != len(full)-1) {
			t.Fatalf("cut at %d, then appended: %+v, %v", cut, got, err)
		}
	}
}

func TestAuditDetectsDamage(t *testing.T) {
	a, path, _ := auditFile(t)
	for _, name := range []string{"a", "b", "c"} {
		must(a.Append(store.AuditEntry{Kind: store.AuditHostRemoved, Name: name}))(t)
	}
	full := string(must(os.ReadFile(path))(t))
	lines := strings.SplitAfter(full, "\n")
	bad := map[string]string{
		"a garbled line":      lines[0] + "xx" + lines[1] + lines[2],
		"a garbled last line": lines[0] + lines[1] + "xx" + lines[2],
		"an empty line":       lines[0] + "\n" + lines[1],
		"a cut middle line":   lines[0] + lines[1][:20] + "\n" + lines[2],
		"two on a line":       lines[0] + strings.TrimSuffix(lines[1], "\n") + lines[2],
		"an unknown kind":     strings.Replace(full, "host-removed", "host-renamed", 1),
		"an unknown field":    strings.Replace(full, `"name"`, `"nom"`, 1),
		"a name that escapes": strings.Replace(full, `"name":"b"`, `"name":"../b"`, 1),
		"a very long line":    strings.Repeat("x", 100_000) + "\n" + full,
	}
	for name, content := range bad {
		if got, err := store.ReadAudit(strings.NewReader(content)); !errors.Is(err, store.ErrAudit) {
			t.Errorf("%s: %+v, %v, want ErrAudit", name, got, err)
		}
	}
}

func TestAuditManyWriters(t *testing.T) {
	a, path, _ := auditFile(t)
	b := must(store.OpenAudit(path, nil))(t)
	var wg sync.WaitGroup
	for _, w := range []*store.Audit{a, b} {
		for range 20 {
			wg.Go(func() {
				if _, err := w.Append(store.AuditEntry{Kind: store.AuditOperatorRevoked, Name: "op"}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if got := must(a.Read())(t); len(got) != 40 {
		t.Errorf("%d entries, want 40", len(got))
	}
}

func TestCommitAudited(t *testing.T) {
	s := storetest.New(t)
	a, _, _ := auditFile(t)
	inc := must(s.Begin(bounded(t)))(t)
	revision := put(t, s, "identity/host/a", "x")
	entry := store.AuditEntry{Kind: store.AuditHostKeyRevoked, Name: "a", Actor: "alice"}

	stale := store.Txn{Compares: []store.Compare{store.Unchanged("identity/host/a", revision-1)}, Deletes: []string{"identity/host/a"}}
	if _, err := s.CommitAudited(bounded(t), a, stale, entry); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("error %v, want ErrConflict", err)
	}
	if got := must(a.Read())(t); len(got) != 0 {
		t.Errorf("what did not take place is recorded: %+v", got)
	}
	good := store.Txn{Compares: []store.Compare{store.Unchanged("identity/host/a", revision)}, Deletes: []string{"identity/host/a"}}
	must(s.CommitAudited(bounded(t), a, good, entry))(t)
	got := must(a.Read())(t)
	if len(got) != 1 || got[0].Incarnation != inc.Number || got[0].Revision != revision || got[0].Name != "a" {
		t.Errorf("recorded %+v, want incarnation %d, revision %d", got, inc.Number, revision)
	}
	put(t, s, "identity/host/b", "x")
	bad := store.AuditEntry{Kind: "unknown", Name: "b"}
	if _, err := s.CommitAudited(bounded(t), a, store.Txn{Deletes: []string{"identity/host/b"}}, bad); err == nil {
		t.Error("an entry that cannot be recorded did not stop the write")
	}
	if _, err := s.Get(bounded(t), "identity/host/b"); err != nil {
		t.Errorf("revoked without a record: %v", err)
	}
}
