package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/store/storetest"
)

// appendByte is an edit that adds a byte once; it is idempotent as edits must be.
func appendByte(key string, b byte, while store.Compare) edit {
	return edit{key: key, while: while, apply: func(have store.KV, _ bool) ([]byte, error) {
		for _, x := range have.Value {
			if x == b {
				return nil, nil
			}
		}
		return append(append([]byte(nil), have.Value...), b), nil
	}}
}

func startWriter(t *testing.T, s *store.Store) (*writer, *store.View) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	v, err := s.View(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w := newWriter(s, v, slog.New(slog.NewTextHandler(t.Output(), nil)))
	var running sync.WaitGroup
	running.Go(func() { _ = w.run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); v.Close() })
	return w, v
}

func awaitValue(t *testing.T, v *store.View, key string, ok func(string) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	sub := v.Subscribe(key)
	defer sub.Close()
	for {
		kv, _ := v.Get(key)
		if ok(string(kv.Value)) {
			return
		}
		if _, err := sub.Next(ctx); err != nil {
			t.Fatalf("%s is %q: %v", key, kv.Value, err)
		}
	}
}

func TestTwoWritersLoseNothing(t *testing.T) {
	s := storetest.New(t)
	one, v := startWriter(t, s)
	two, _ := startWriter(t, storetest.Another(t, s))
	const keys = 300
	for i := range keys {
		key := fmt.Sprintf("status/host/h%d", i)
		one.submit(appendByte(key, 'a', store.Compare{}))
		two.submit(appendByte(key, 'b', store.Compare{}))
		one.submit(appendByte(key, 'c', store.Compare{}))
	}
	for i := range keys {
		awaitValue(t, v, fmt.Sprintf("status/host/h%d", i), func(value string) bool { return len(value) == 3 })
	}
}

func TestEditsOfADeadEpochAreDropped(t *testing.T) {
	s := storetest.New(t)
	revision, err := s.Commit(t.Context(), store.Txn{Puts: []store.Put{{Key: "epoch/h", Value: []byte("2")}}})
	if err != nil {
		t.Fatal(err)
	}
	w, v := startWriter(t, s)
	// In one batch, most likely: the writer has not begun to look.
	w.submit(appendByte("status/host/h", 'x', store.Unchanged("epoch/h", revision-1)))
	w.submit(appendByte("status/host/h", 'y', store.Unchanged("epoch/h", revision)))
	w.submit(appendByte("status/host/i", 'z', store.Unchanged("epoch/h", revision-1)))
	w.submit(appendByte("status/host/end", 'e', store.Compare{}))
	awaitValue(t, v, "status/host/end", func(value string) bool { return value == "e" })
	awaitValue(t, v, "status/host/h", func(value string) bool { return value == "y" })
	if _, exists := v.Get("status/host/i"); exists {
		t.Error("an edit of a dead epoch was written")
	}
}

func TestWriterOutlivesTheStoresAbsence(t *testing.T) {
	s := storetest.New(t)
	linked, link := storetest.Linked(t, s)
	w, _ := startWriter(t, linked)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	v, err := s.View(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	link.Cut()
	w.submit(appendByte("status/host/h", 'a', store.Compare{}))
	link.Heal()
	awaitValue(t, v, "status/host/h", func(value string) bool { return value == "a" })
}

func TestQueueIsBounded(t *testing.T) {
	w := newWriter(nil, nil, slog.New(slog.DiscardHandler))
	for i := range 10 * maxEdits {
		w.submit(appendByte("k", byte(i), store.Compare{}))
	}
	for range 100 {
		e := appendByte("l", 'x', store.Compare{})
		e.slot = "report"
		w.submit(e)
	}
	for i := range 1000 {
		w.submit(appendByte(fmt.Sprintf("m%d", i), 'x', store.Unchanged("e", 1)))
	}
	compares := 0
	batch := w.take()
	for key, edits := range batch {
		compares += 1 + len(edits)
		if key == "k" && len(edits) != maxEdits || key == "l" && len(edits) != 1 {
			t.Errorf("%s: %d edits", key, len(edits))
		}
	}
	if compares > store.MaxTxnCompares || len(batch) < 3 {
		t.Errorf("a batch of %d keys and %d compares", len(batch), compares)
	}
}

// TestRepeatedExpiresPushNothingOut: an agent that asks for rekeys without end must not lose the acks of its
// peer, which are submitted once.
func TestRepeatedExpiresPushNothingOut(t *testing.T) {
	w := newWriter(nil, nil, slog.New(slog.DiscardHandler))
	a, b := generationRef{number: 1, ofA: true}, generationRef{number: 1}
	w.submit(b.change(phaseEdit{acks: plan.InB}, store.Compare{}, time.Now))
	for range 10 * maxEdits {
		w.submit(a.change(phaseEdit{soft: true}, store.Compare{}, time.Now))
	}
	w.submit(b.change(phaseEdit{soft: true}, store.Compare{}, time.Now))
	for _, edits := range w.take() {
		if len(edits) != 3 || edits[0].slot != "" {
			t.Errorf("%d edits wait, the first in the slot %q; want the ack and one rekey for each end", len(edits), edits[0].slot)
		}
	}
}

func TestUnreadableRecordIsLeftAlone(t *testing.T) {
	s := storetest.New(t)
	w, v := startWriter(t, s)
	bad := edit{key: "status/host/bad", apply: func(store.KV, bool) ([]byte, error) { return nil, errors.New("not a record") }}
	w.submit(bad)
	w.submit(appendByte("status/host/good", 'g', store.Compare{}))
	awaitValue(t, v, "status/host/good", func(value string) bool { return value == "g" })
	if _, exists := v.Get("status/host/bad"); exists {
		t.Error("it was written")
	}
}
