package plan

// Confirm records that an operator confirmed, at a store revision, what the planner wants to delete at
// a host; every host when the uid is zero.
func (w *World) Confirm(uid UID, revision int64) {
	if w.confirmed == nil {
		w.confirmed = make(map[UID]int64)
	}
	w.confirmed[uid] = max(w.confirmed[uid], revision)
}

// Explained reports whether a named change of intent, newer than a generation that the store created at
// the given revision, can be why its pair is no longer wanted: an operator changed or removed one of its
// hosts, or any policy, or confirmed. What is merely absent, say after a bad restore, explains nothing.
func (w *World) Explained(id PairID, createRevision int64) bool {
	newest := max(w.policyRemoved, w.confirmed[UID{}])
	for _, uid := range []UID{id.A(), id.B()} {
		newest = max(newest, w.removed[uid], w.confirmed[uid])
		if h, ok := w.Host(uid); ok {
			newest = max(newest, h.Revision)
		}
	}
	for _, p := range w.policies {
		newest = max(newest, p.Revision)
	}
	return newest > createRevision
}
