package world

import (
	"strings"

	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
)

// Scopes of the intents that operators write (store.IntentKey). They witness for a day that a deletion
// was meant, also to a planner that starts after it; see plan.World.Explained.
const (
	// IntentHost names a deleted host; the value is its uid, 16 hexadecimal digits.
	IntentHost = "host"
	// IntentPolicy names a deleted policy.
	IntentPolicy = "policy"
	// IntentConfirm lets the planner go on with deletions at the named host that wait for confirmation.
	IntentConfirm = "confirm"
	// ConfirmAll is the name under IntentConfirm that stands for every host. No host can have it: their
	// names are in lower case.
	ConfirmAll = "ALL"
)

// intent takes one record under intent/.
func (f *Feed) intent(kv store.KV, t *touched) {
	scope, name, err := store.ParseIntentKey(kv.Key)
	if err != nil {
		return
	}
	switch scope {
	case IntentPolicy:
		if _, exists := f.world.Policy(name); !exists {
			t.add(f.world.RemovePolicy(name, kv.ModRevision))
		}
	case IntentHost:
		uid, err := plan.ParseUID(string(kv.Value))
		if err != nil {
			f.log.Error("an intent cannot be read; it is ignored", "key", kv.Key, "err", err)
			return
		}
		if _, exists := f.world.Host(uid); !exists {
			t.add(f.world.RemoveHost(uid, kv.ModRevision))
		}
	case IntentConfirm:
		f.confirm(name, kv.ModRevision, t)
	}
}

// confirm touches every pair with a generation at the host: those that wait are wanted no more.
func (f *Feed) confirm(name string, revision int64, t *touched) {
	uid := f.uids[name]
	if name != ConfirmAll && uid == (plan.UID{}) {
		return
	}
	if name == ConfirmAll {
		uid = plan.UID{}
	}
	f.world.Confirm(uid, revision)
	if t == nil {
		return
	}
	f.snapshot.Range(store.SAPhasePrefix, func(kv store.KV) bool {
		if id, _, err := store.ParseSAPhaseKey(kv.Key); err == nil && (name == ConfirmAll || plan.PairID(id).Has(uid)) {
			t.pairs[plan.PairID(id)] = struct{}{}
		}
		return true
	})
}

func isIntent(key string) bool { return strings.HasPrefix(key, store.IntentPrefix) }
