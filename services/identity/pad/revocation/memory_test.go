package revocation

import (
	"fmt"
	"testing"
	"time"
)

// TestMemoryIsBounded: old entries make room first, else any; an entry that is replaced takes none.
func TestMemoryIsBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	m := memory[int]{limit: 4}
	for i := range 3 {
		m.put(fmt.Sprint("old", i), remembered[int]{until: now.Add(time.Second)}, now)
	}
	m.put("young", remembered[int]{value: 1, until: now.Add(time.Hour)}, now)
	m.put("young", remembered[int]{value: 2, until: now.Add(time.Hour)}, now)
	if len(m.held) != 4 {
		t.Errorf("%d entries", len(m.held))
	}
	now = now.Add(time.Minute)
	m.put("new", remembered[int]{until: now.Add(time.Hour)}, now)
	if r, ok := m.get("young", now); !ok || r.value != 2 || len(m.held) != 2 {
		t.Errorf("%d entries, young is %v, %v", len(m.held), r, ok)
	}
	for i := range 100 {
		m.put(fmt.Sprint(i), remembered[int]{until: now.Add(time.Hour)}, now)
	}
	if _, ok := m.get("99", now); !ok || len(m.held) != 4 {
		t.Errorf("%d entries, the last is there: %v", len(m.held), ok)
	}
}
