package plan

import (
	"testing"
	"time"
)

func TestGate(t *testing.T) {
	var g Gate
	now := time.Unix(1e9, 0)
	pass := func(agent byte, deletions, total int, want bool) {
		t.Helper()
		if got := g.Pass(UID{agent}, deletions, total, now); got != want {
			t.Fatalf("%d of %d: %v, want %v", deletions, total, got, want)
		}
	}
	pass(1, 1, 9, false)
	pass(1, 1, 10, true)
	pass(1, 1, 9, false) // a tenth has gone within the hour, of the ten that there were
	pass(2, 10, 100, true)
	pass(2, 1, 90, false)
	pass(3, 11, 100, false)
	pass(3, 5, 100, true)
	pass(3, 5, 95, true)
	pass(3, 1, 90, false)
	pass(4, 1, 0, false)
	now = now.Add(gateWindow)
	pass(2, 9, 90, true)
	for range 2 {
		if !g.Would(UID{1}, 1, 10, now) {
			t.Error("Would counts")
		}
	}
}
