package fleet_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/fault"
	"sallyport.dev/sallyport/services/fleet/fleettest"
	"sallyport.dev/sallyport/services/protocol/plan"
)

// agent is a scripted agent: it says just what a test makes it say.
type agent struct {
	t       *testing.T
	f       *fleettest.Fleet
	host    string
	epoch   plan.Epoch
	rpc     grpc.BidiStreamingClient[fleetv1.SyncRequest, fleetv1.SyncResponse]
	cancel  context.CancelFunc
	welcome *fleetv1.Welcome
}

// opening is how an agent opens a stream; the zero value is an agent that just started.
type opening struct {
	epoch  plan.Epoch // zero: 1
	stream uint64     // zero: 1
	seen   *typesv1.Position
	held   map[string]uint64
	from   string // source address of the connection
}

var epochOne = plan.Epoch{0: 1}

// dialAgent opens a stream and sends Hello and the inventory. It does not wait for Welcome.
func dialAgent(t *testing.T, f *fleettest.Fleet, host string, o opening) *agent {
	t.Helper()
	if o.epoch.IsZero() {
		o.epoch = epochOne
	}
	o.stream = max(o.stream, 1)
	ctx, cancel := context.WithTimeout(context.Background(), fleettest.Patience)
	t.Cleanup(cancel)
	rpc, err := fleetv1.NewSyncServiceClient(f.Dial(host, o.from)).Sync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, f: f, host: host, epoch: o.epoch, rpc: rpc, cancel: cancel}
	a.send(&fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Hello{Hello: &fleetv1.Hello{
		Epoch: o.epoch[:], Stream: o.stream, Seen: o.seen, AgentVersion: "v1", Report: report("192.0.2.1"),
	}}})
	inventory := &fleetv1.Inventory{Last: true}
	for name, version := range o.held {
		inventory.Entries = append(inventory.Entries, &fleetv1.Inventory_Entry{Name: name, Version: version})
	}
	a.send(&fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Inventory{Inventory: inventory}})
	return a
}

// connect is dialAgent for a stream that must be welcomed.
func connect(t *testing.T, f *fleettest.Fleet, host string, o opening) *agent {
	t.Helper()
	a := dialAgent(t, f, host, o)
	m, err := a.rpc.Recv()
	if err != nil {
		t.Fatalf("%s: no Welcome: %v", host, err)
	}
	if a.welcome = m.GetWelcome(); a.welcome == nil {
		t.Fatalf("%s: first message is %v, not Welcome", host, m)
	}
	return a
}

func report(underlay string) *fleetv1.HostReport {
	return &fleetv1.HostReport{UnderlayAddresses: [][]byte{addr(underlay)}, EspPort: 4500}
}

// send ignores errors: a refused stream shows in the next receive.
func (a *agent) send(m *fleetv1.SyncRequest) { _ = a.rpc.Send(m) }

// next is the next Update or Remove; positions are passed over.
func (a *agent) next() *fleetv1.SyncResponse {
	a.t.Helper()
	for {
		m, err := a.rpc.Recv()
		if err != nil {
			a.t.Fatalf("%s: stream ended: %v", a.host, err)
		}
		if m.GetPosition() == nil {
			return m
		}
	}
}

// update receives an Update of that name.
func (a *agent) update(name string) *fleetv1.Update {
	a.t.Helper()
	m := a.next()
	if m.GetUpdate().GetName() != name {
		a.t.Fatalf("%s: got %v, want an Update of %s", a.host, m, name)
	}
	return m.GetUpdate()
}

// remove receives a Remove of that name.
func (a *agent) remove(name string) *fleetv1.Remove {
	a.t.Helper()
	m := a.next()
	if m.GetRemove().GetName() != name {
		a.t.Fatalf("%s: got %v, want a Remove of %s", a.host, m, name)
	}
	return m.GetRemove()
}

// take receives an Update of that name and acks it.
func (a *agent) take(name string) *fleetv1.Update {
	a.t.Helper()
	u := a.update(name)
	a.ack(name, u.GetVersion())
	return u
}

// drop receives a Remove of that name and acks it.
func (a *agent) drop(name string) {
	a.t.Helper()
	a.ack(name, a.remove(name).GetVersion())
}

// position waits for a Position: then nothing else was due. Anything else fails the test.
func (a *agent) position() *typesv1.Position {
	a.t.Helper()
	m, err := a.rpc.Recv()
	if err != nil {
		a.t.Fatalf("%s: stream ended: %v", a.host, err)
	}
	if m.GetPosition() == nil {
		a.t.Fatalf("%s: got %v, want nothing but a Position", a.host, m)
	}
	return m.GetPosition()
}

// quiet fails the test if anything comes before the agent is in step with a key's last change.
func (a *agent) quiet(key string) {
	a.t.Helper()
	kv, _ := a.f.View.Get(key)
	for a.position().GetRevision() < kv.ModRevision {
	}
}

// ended waits for the stream's end, whatever comes before it, and returns the reason.
func (a *agent) ended() error {
	a.t.Helper()
	for {
		m, err := a.rpc.Recv()
		if err != nil {
			if errors.Is(a.rpc.Context().Err(), context.DeadlineExceeded) {
				a.t.Fatalf("%s: the stream goes on", a.host)
			}
			return fault.FromError(err)
		}
		if u := m.GetUpdate(); u.GetSecurityAssociation() != nil {
			a.t.Fatalf("%s: a key came: %s", a.host, u.GetName())
		}
	}
}

// refused checks why the stream ended.
func (a *agent) refused(reason string) {
	a.t.Helper()
	if err := a.ended(); fault.ReasonOf(err) != reason {
		a.t.Fatalf("%s: ended with %v, want reason %s", a.host, err, reason)
	}
}

func (a *agent) ack(name string, version uint64) {
	a.send(&fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Ack{Ack: &fleetv1.Ack{Name: name, Version: version}}})
}

func (a *agent) nack(u *fleetv1.Update, reason fleetv1.NackReason, highest uint32) {
	a.send(&fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Nack{Nack: &fleetv1.Nack{
		Name: u.GetName(), Version: u.GetVersion(), Reason: reason, HighestGeneration: highest, Detail: "as scripted",
	}}})
}

func (a *agent) expire(name string, reason fleetv1.ExpireReason) {
	a.send(&fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Expire{Expire: &fleetv1.Expire{Name: name, Reason: reason}}})
}

func (a *agent) report(r *fleetv1.HostReport) {
	a.send(&fleetv1.SyncRequest{Message: &fleetv1.SyncRequest_Report{Report: r}})
}

func (a *agent) hangUp() { a.cancel() }

// lost waits until the controller knows that the host has no stream.
func (a *agent) lost() {
	a.t.Helper()
	a.hangUp()
	ctx, cancel := context.WithTimeout(context.Background(), fleettest.Patience)
	defer cancel()
	for a.f.Service.Metrics().Open > 0 {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			a.t.Fatal(errors.New("the stream is still open"))
		}
	}
}
