package rpc

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/caller"
	"sallyport.dev/sallyport/services/fault"
)

// soon is much longer than a stop takes, and much shorter than what it must not wait for.
const soon = 4 * time.Second

// shutDown stops the server with all the time in the world, and fails the test when it takes any.
func (r *rig) shutDown() {
	r.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	r.server.Shutdown(ctx)
	if took := time.Since(began); took > soon {
		r.t.Errorf("stopping took %v", took)
	}
}

func TestShutdownEndsWatches(t *testing.T) {
	r := newRig(t, Limits{})
	var watches []operatorv1.ResourceService_WatchClient
	for _, conn := range []*grpc.ClientConn{r.client, r.localClient} {
		w, err := operatorv1.NewResourceServiceClient(conn).Watch(t.Context(), &operatorv1.WatchRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Recv(); err != nil {
			t.Fatal(err)
		}
		watches = append(watches, w)
	}
	r.shutDown()
	for _, w := range watches {
		_, err := w.Recv()
		if status.Code(err) != codes.Unavailable || fault.ReasonOf(fault.FromError(err)) != "STOPPING" {
			t.Errorf("the watch ended with %v", err)
		}
	}
	if strings.Contains(r.log.String(), "level=WARN") {
		t.Errorf("stopping warns:\n%s", r.log)
	}
	// What comes in at the last moment is refused.
	if _, _, err := r.server.calls.begin(t.Context(), operatorv1.ResourceService_Watch_FullMethodName); err == nil {
		t.Error("a watch began after the server stopped")
	}
}

// TestRevokedOperatorsWatchEnds: what was opened with a credential does not outlive it.
func TestRevokedOperatorsWatchEnds(t *testing.T) {
	r := newRig(t, Limits{Recheck: 10 * time.Millisecond})
	w, err := operatorv1.NewResourceServiceClient(r.client).Watch(t.Context(), &operatorv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	local, err := operatorv1.NewResourceServiceClient(r.localClient).Watch(t.Context(), &operatorv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range []operatorv1.ResourceService_WatchClient{w, local} {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	r.auth.mu.Lock()
	r.auth.gone = true
	r.auth.mu.Unlock()
	if _, err := w.Recv(); status.Code(err) != codes.Unauthenticated || fault.ReasonOf(fault.FromError(err)) != "CREDENTIAL_ENDED" {
		t.Errorf("the watch ended with %v", err)
	}
	r.shutDown() // the local root has no credential: its watch went on until now
	if _, err := local.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the local watch ended with %v", err)
	}
}

func TestShutdownLetsCallsEnd(t *testing.T) {
	r := newRig(t, Limits{})
	began, release := make(chan struct{}), make(chan struct{})
	r.resources.get = func(ctx context.Context, _ *operatorv1.GetRequest) (*operatorv1.GetResponse, error) {
		close(began)
		<-release
		return &operatorv1.GetResponse{}, ctx.Err()
	}
	answered := make(chan error, 1)
	go func() { answered <- r.get(goodGet) }()
	<-began
	stopped := make(chan struct{})
	go func() { defer close(stopped); r.shutDown() }()
	<-r.server.calls.life.Done()
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("the call that ran: %v", err)
	}
	<-stopped
}

// TestShutdownDoesNotWaitForTheDead: a host that vanished does not say goodbye.
func TestShutdownDoesNotWaitForTheDead(t *testing.T) {
	r := newRig(t, Limits{})
	conn, err := tls.Dial("tcp", r.address, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00" // an empty SETTINGS frame (RFC 9113 section 6.5)
	if _, err := conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 9)); err != nil { // the server's settings: the connection is up
		t.Fatal(err)
	}
	r.shutDown()
}

// TestRevokedHostRelaysNoMore: what an agent opened does not outlive its key.
func TestRevokedHostRelaysNoMore(t *testing.T) {
	r := newRig(t, Limits{Recheck: 10 * time.Millisecond})
	who := caller.Caller{Role: caller.RoleAgent, Name: "gw"}
	r.auth.mu.Lock()
	r.auth.gone = true
	r.auth.mu.Unlock()
	err := r.server.whileValid(t.Context(), fleetv1.RelayService_RelayIKE_FullMethodName, who, func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Second):
			return nil
		}
	})
	if fault.ReasonOf(err) != "CREDENTIAL_ENDED" {
		t.Errorf("the stream ended with %v", err)
	}
}
