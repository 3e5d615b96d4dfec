package uplink

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"

	"sallyport.dev/sallyport/agent/datapath"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
)

// answers is the agent's end of a stream whose other end is a list of messages.
type answers struct {
	grpc.BidiStreamingClient[fleetv1.SyncRequest, fleetv1.SyncResponse]
	sent []*fleetv1.SyncRequest
}

func (a *answers) Send(m *fleetv1.SyncRequest) error {
	a.sent = append(a.sent, m)
	return nil
}

// Obedient is an Uplink that obeys lists of messages.
type Obedient struct{ u *Uplink }

// NewObedient makes an Uplink of an enrolled host.
func NewObedient(t testing.TB, chain, root []byte, key *Key, state *State, in Installer) *Obedient {
	t.Helper()
	id, err := newIdentity(key, [][]byte{chain}, [][]byte{root})
	if err != nil {
		t.Fatal(err)
	}
	u, err := New(Config{
		Controllers: []string{"c:1"}, State: state, Dialer: TLSDialer{}, Installer: in,
		Events: make(chan datapath.Event), ESPPort: 4500, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	u.setIdentity(id)
	return &Obedient{u}
}

// Obey carries the messages out as one stream and returns what was answered.
func (o *Obedient) Obey(messages []*fleetv1.SyncResponse) ([]*fleetv1.SyncRequest, error) {
	o.u.highest.saved = time.Now().Add(time.Hour) // no position goes to disk
	rpc := &answers{}
	s := &stream{u: o.u, rpc: rpc, apply: o.u.applier, welcomed: make(chan time.Duration, 1), greetings: make(chan struct{}), ended: io.EOF}
	in := make(chan *fleetv1.SyncResponse, len(messages))
	for _, m := range messages {
		in <- m
	}
	close(in)
	err := s.obey(context.Background(), in, time.NewTimer(time.Hour))
	return rpc.sent, err
}

// Held is the number of associations that the inventory would tell.
func (o *Obedient) Held() int { return o.u.held.count() }
