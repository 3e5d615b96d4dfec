package operator

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	controllerv1 "sallyport.dev/sallyport/api/sallyport/controller/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/store"
	"sallyport.dev/sallyport/services/world"
)

const (
	// fullPercent of the quota is when an operator should look: at 100 etcd stops writing.
	fullPercent = 80
	// certificateSoon is when a certificate should have been renewed long ago: agents do it at half of
	// its 24 hours.
	certificateSoon = 6 * time.Hour
	// namesShown bounds a list of hosts in a warning.
	namesShown = 5
)

// warnings collects what an operator should look at.
type warnings struct{ lines []string }

func (w *warnings) add(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

func (w *warnings) controller(viewEnded error, c *operatorv1.ControllerStatus) {
	if viewEnded != nil {
		w.add("this controller no longer follows etcd and shows an old state: restart it (%v)", viewEnded)
	}
	if c.GetPlanner() == "" {
		w.add("no controller plans: no keys are made and none are renewed; see that a controller with the planner service runs")
	}
}

func (w *warnings) delivery(halted string) {
	if halted != "" {
		w.add("agents are told nothing: %s; traffic goes on with the keys that they have", halted)
	}
}

func (w *warnings) authority(err error) {
	if err != nil {
		w.add("the fleet's CA cannot be read: no host can join or renew its certificate (%v)", err)
	}
}

func (w *warnings) store(s *operatorv1.StoreStatus, health store.Status, err error) {
	if err != nil {
		w.add("etcd does not answer: nothing can be changed; traffic goes on until the keys end (%v)", err)
	}
	for _, e := range health.Endpoints {
		if e.Err != nil && err == nil {
			w.add("the etcd member %s does not answer (%v)", e.Endpoint, e.Err)
		}
	}
	for _, alarm := range s.GetAlarms() {
		switch alarm {
		case "NOSPACE":
			w.add("etcd is out of space and refuses writes (alarm NOSPACE): raise its quota, or find out what filled it; it is disarmed after the next defragmentation that makes room")
		default:
			w.add("etcd has raised the alarm %s: see etcd's documentation before anything else is changed", alarm)
		}
	}
	if s.GetQuota() > 0 && s.GetDbSize() > s.GetQuota()/100*fullPercent {
		w.add("etcd's database has %d MiB of its quota of %d MiB (%d MiB in use): at the quota it stops writing",
			s.GetDbSize()>>20, s.GetQuota()>>20, s.GetDbSizeInUse()>>20)
	}
}

// fleet says what concerns hosts and pairs as a whole.
func (w *warnings) fleet(state world.State, now time.Time) {
	var away []string
	for h := range state.World.Hosts() {
		if !h.Live {
			away = append(away, h.Name)
		}
	}
	if len(away) > 0 {
		w.add("%s not connected: traffic with them goes on over the keys that they have; see sallyport get hosts", names(away))
	}
	if pairs, stops := state.Late(now); pairs > 0 {
		w.add("the next keys of %s are late: without them the first stops at %s, in %v; see that a controller plans and that the hosts are connected",
			amount(pairs, "pair"), stops.UTC().Format(time.RFC3339), stops.Sub(now).Round(time.Second))
	}
	if held := state.Held(); len(held) > 0 {
		w.add("no policy wants %s of %s any more and no change by an operator explains why: their keys stay until they end; "+
			"if that is meant, sallyport confirm-deletions --all; if not, apply the host or policy that is missing",
			amount(len(held), "pair"), names(hostsOf(state, held)))
	}
}

// hostsOf names the hosts of some pairs; those that are gone by their uid.
func hostsOf(state world.State, pairs []plan.PairID) []string {
	seen := make(map[string]struct{})
	for _, pair := range pairs {
		for _, uid := range []plan.UID{pair.A(), pair.B()} {
			name := uid.String()
			if h, ok := state.World.Host(uid); ok {
				name = h.Name
			}
			seen[name] = struct{}{}
		}
	}
	return slices.Collect(maps.Keys(seen))
}

// amount is a number of things in words.
func amount(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// hosts says which hosts cannot renew their certificates or have a condition.
func (w *warnings) hosts(snapshot *store.Snapshot, now time.Time) {
	var ending []string
	snapshot.Range(store.HostIDPrefix, func(kv store.KV) bool {
		var id controllerv1.HostIdentity
		if store.Decode(kv, &id) == nil && id.GetNotAfter() != nil && id.GetNotAfter().AsTime().Sub(now) < certificateSoon {
			ending = append(ending, strings.TrimPrefix(kv.Key, store.HostIDPrefix))
		}
		return true
	})
	if len(ending) > 0 {
		w.add("the certificates of %s end within %v or have ended: their agents do not renew them; they can, as soon as they reach a controller",
			names(ending), certificateSoon)
	}
	prefix := store.StatusPrefix + string(store.KindHost) + "/"
	shown := 0
	snapshot.Range(prefix, func(kv store.KV) bool {
		var status operatorv1.HostStatus
		if store.Decode(kv, &status) == nil {
			for _, c := range status.GetConditions() {
				w.add("host %s: %s: %s", strings.TrimPrefix(kv.Key, prefix), c.GetType(), c.GetMessage())
				shown++
			}
		}
		return shown < namesShown
	})
}

// names shows the first few hosts and says how many there are.
func names(all []string) string {
	slices.Sort(all)
	word := "host"
	if len(all) > 1 {
		word = fmt.Sprintf("%d hosts:", len(all))
	}
	if len(all) > namesShown {
		return word + " " + strings.Join(all[:namesShown], ", ") + ", …"
	}
	return word + " " + strings.Join(all, ", ")
}
