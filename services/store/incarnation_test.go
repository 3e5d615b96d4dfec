package store_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

func TestBeginIsOneForAll(t *testing.T) {
	a := storetest.New(t)
	b := storetest.Another(t, a)
	if _, err := a.ReadIncarnation(bounded(t)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("before the first start: %v, want ErrNotFound", err)
	}
	earliest := uint64(time.Now().Unix())
	type result struct {
		inc store.Incarnation
		err error
	}
	results := make(chan result, 2)
	for _, s := range []*store.Store{a, b} {
		go func() {
			inc, err := s.Begin(bounded(t))
			results <- result{inc, err}
		}()
	}
	first, second := <-results, <-results
	if first.err != nil || second.err != nil || first.inc != second.inc || first.inc.Number < earliest {
		t.Errorf("incarnations %+v and %+v, want one, at least %d", first, second, earliest)
	}
	if again := must(a.Begin(bounded(t)))(t); again != first.inc {
		t.Errorf("after a restart %+v, want %+v", again, first.inc)
	}
}

func TestRestoringIsRefused(t *testing.T) {
	s := storetest.New(t)
	must(s.Begin(bounded(t)))(t)
	v := view(t, s)
	put(t, s, store.RestoringKey, "{}")
	if _, err := storetest.Another(t, s).Begin(bounded(t)); !errors.Is(err, store.ErrRestoring) {
		t.Errorf("Begin: %v, want ErrRestoring", err)
	}
	waitDone(t, "the view", v.Done())
	if err := v.Err(); !errors.Is(err, store.ErrIncarnation) {
		t.Errorf("view: %v, want ErrIncarnation", err)
	}
	if _, ok := v.Get(store.RestoringKey); ok {
		t.Error("the view shows a state of the restore")
	}
	if _, err := s.View(bounded(t)); !errors.Is(err, store.ErrIncarnation) {
		t.Errorf("a new view: %v, want ErrIncarnation", err)
	}
}

func TestEndOfTheIncarnationEndsTheView(t *testing.T) {
	s := storetest.New(t)
	must(s.Begin(bounded(t)))(t)
	v := view(t, s)
	remove(t, s, store.IncarnationKey)
	waitDone(t, "the view", v.Done())
	if err := v.Err(); !errors.Is(err, store.ErrIncarnation) {
		t.Errorf("view: %v, want ErrIncarnation", err)
	}
}

func TestBeginChecksTheRootKey(t *testing.T) {
	s := storetest.New(t)
	first := must(s.Begin(bounded(t)))(t)
	wrong := must(store.Open(bounded(t), store.Config{Endpoints: s.Endpoints(), Prefix: s.Prefix(), Keys: storetest.Keyring(t)}))(t)
	t.Cleanup(func() { wrong.Close() })
	if _, err := wrong.Begin(bounded(t)); !errors.Is(err, store.ErrRootKey) {
		t.Errorf("another root key: %v, want ErrRootKey", err)
	}
	if again, err := storetest.Another(t, s).Begin(bounded(t)); again != first || err != nil {
		t.Errorf("the right root key: %+v, %v", again, err)
	}
}

// TestMissingRootKeyIsNotReplaced: a controller that starts without its root key must not leave another in
// its place.
func TestMissingRootKeyIsNotReplaced(t *testing.T) {
	s := storetest.New(t)
	must(s.Begin(bounded(t)))(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "root.key")
	begin := func() error {
		keys := must(store.OpenKeyring(store.KeyringConfig{RootKeyFile: file, TrafficDir: filepath.Join(dir, "traffic")}))(t)
		other := must(store.Open(bounded(t), store.Config{Endpoints: s.Endpoints(), Prefix: s.Prefix(), Keys: keys}))(t)
		defer other.Close()
		_, err := other.Begin(bounded(t))
		return err
	}
	if err := begin(); !errors.Is(err, store.ErrRootKey) || !strings.Contains(err.Error(), "there was no "+file) {
		t.Errorf("without a root key: %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a root key that opens nothing was left behind: %v", err)
	}
	if err := os.WriteFile(file, bytes.Repeat([]byte{7}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := begin(); !errors.Is(err, store.ErrRootKey) {
		t.Errorf("with a wrong root key: %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the operator's file was touched: %v", err)
	}
}
