package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/daemonlog"
	"sallyport.dev/sallyport/services/dial"
	"sallyport.dev/sallyport/services/store"
)

// testOptions are those of a controller in a directory of its own.
func testOptions(t *testing.T) options {
	t.Helper()
	dir, err := os.MkdirTemp("", "spctl-*") // a short path, for the sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	o := options{
		name: "c1", listen: "127.0.0.1:0", dataDir: filepath.Join(dir, "data"), keyDir: filepath.Join(dir, "keys"),
		socket: filepath.Join(dir, "s"), credential: filepath.Join(dir, "operator.yaml"),
		services: []string{serviceFleet, serviceOperator, servicePlanner}, log: daemonlog.Options{Level: "error", Format: "text"},
	}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	return o
}

// running is a controller in this process.
type running struct {
	t     *testing.T
	o     options
	out   bytes.Buffer // read it after stop only
	stop  context.CancelFunc
	ended chan error
}

// startController returns when the controller answers.
func startController(t *testing.T, o options) *running {
	t.Helper()
	r := &running{t: t, o: o, ended: make(chan error, 1)}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() { r.ended <- run(ctx, o, &r.out) }()
	t.Cleanup(r.stop)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := r.status(); err == nil {
			return r
		}
		select {
		case err := <-r.ended:
			t.Fatalf("the controller ended: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("the controller does not answer")
		}
	}
}

func (r *running) status() (*operatorv1.GetStatusResponse, error) {
	conn, err := dial.Unix(r.o.socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return operatorv1.NewAdminServiceClient(conn).GetStatus(ctx, &operatorv1.GetStatusRequest{})
}

// awaitPlanner waits until the controller says who plans.
func (r *running) awaitPlanner(want string) {
	r.t.Helper()
	var got string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if status, err := r.status(); err == nil {
			if got = status.GetController().GetPlanner(); got == want {
				return
			}
		}
	}
	r.t.Fatalf("the planner is %q, want %q", got, want)
}

// end stops the controller and returns how long that took.
func (r *running) end() time.Duration {
	r.t.Helper()
	began := time.Now()
	r.stop()
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Errorf("the controller ended with %v", err)
		}
	case <-time.After(time.Minute):
		r.t.Fatal("the controller does not stop")
	}
	return time.Since(began)
}

// watch opens a Watch and returns when it has sent something.
func watch(t *testing.T, socket string) operatorv1.ResourceService_WatchClient {
	t.Helper()
	conn, err := dial.Unix(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	w, err := operatorv1.NewResourceServiceClient(conn).Watch(t.Context(), &operatorv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Recv(); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestFirstStartAndTheNext(t *testing.T) {
	o := testOptions(t)
	first := startController(t, o)
	w := watch(t, o.socket)
	if took := first.end(); took > 4*time.Second {
		t.Errorf("with an open watch the controller takes %v to stop", took)
	}
	for err := error(nil); err == nil; _, err = w.Recv() {
	}
	for _, word := range []string{"new fleet", o.credential, "join-token create", o.rootKey()} {
		if !strings.Contains(first.out.String(), word) {
			t.Errorf("the first start does not say %q:\n%s", word, first.out.String())
		}
	}
	if _, err := dial.LoadCredential(o.credential); err != nil { // checks the mode too
		t.Error(err)
	}
	second := startController(t, o)
	second.end()
	if second.out.Len() > 0 {
		t.Errorf("the second start says:\n%s", second.out.String())
	}
}

// TestRefusals: each says what to do, and nothing else.
func TestRefusals(t *testing.T) {
	o := testOptions(t)
	first := startController(t, o)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	refused := func(name string, change func(*options), words ...string) {
		t.Run(name, func(t *testing.T) {
			other := testOptions(t)
			change(&other)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := run(ctx, other, new(bytes.Buffer))
			if err == nil {
				t.Fatal("the controller ran")
			}
			for _, word := range words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
			if strings.Contains(err.Error(), "canceled") || strings.Contains(err.Error(), "\n") {
				t.Errorf("the message says more than the reason: %q", err)
			}
		})
	}
	refused("data in use", func(other *options) { other.dataDir, other.keyDir = o.dataDir, o.keyDir }, "--data-dir", "in use by another process")
	refused("port in use", func(other *options) { other.listen = taken.Addr().String() }, "--listen", "in use")
	refused("metrics port in use", func(other *options) { other.metricsListen = taken.Addr().String() }, "--metrics-listen", "in use")
	refused("socket in use", func(other *options) { other.socket = o.socket }, "--socket", "listening")
	refused("a credential is there", func(other *options) { other.credential = o.credential }, "--credential", "exists already", "move")
	refused("keys beside the data", func(other *options) { other.keyDir = filepath.Join(other.dataDir, "keys") }, "--key-dir", "choose another place")
	first.end()

	again := func(change func(*options)) func(*options) {
		return func(other *options) { *other = o; change(other) }
	}
	refused("another trust domain", again(func(o *options) { o.trustDomain = "other.example" }), "--trust-domain", "sallyport.internal", "leave the flag out")
	refused("another pool", again(func(o *options) { o.poolIPv4 = "10.9.0.0/16" }), "--pool-ipv4", "100.80.0.0/16")
	key, err := os.ReadFile(o.rootKey())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(o.rootKey()); err != nil {
		t.Fatal(err)
	}
	refused("no root key", again(func(*options) {}), "root key", "there was no "+o.rootKey())
	if err := os.WriteFile(o.rootKey(), key, 0o600); err != nil {
		t.Fatal(err)
	}
	startController(t, o).end() // nothing was lost
}

// TestTwoControllers: on one etcd, one plans, and the other as soon as the first has stopped.
func TestTwoControllers(t *testing.T) {
	a := testOptions(t)
	etcd, err := store.StartEmbedded(store.EmbeddedConfig{DataDir: filepath.Join(filepath.Dir(a.socket), "etcd")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { etcd.Close() })
	b := testOptions(t)
	a.etcdEndpoints, b.etcdEndpoints = etcd.Endpoints(), etcd.Endpoints()
	b.name, b.keyDir = "c2", a.keyDir
	first := startController(t, a)
	first.awaitPlanner("c1")
	second := startController(t, b)
	second.awaitPlanner("c1")
	first.end()
	second.awaitPlanner("c2")
	second.end()
	if second.out.Len() > 0 {
		t.Errorf("the second controller of a fleet says:\n%s", second.out.String())
	}
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		change func(*options)
		words  string // of the error; "" for none
	}{
		{func(*options) {}, ""},
		{func(o *options) { o.listen = "7443" }, "--listen"},
		{func(o *options) { o.name = "Ctl_1" }, "--name"},
		{func(o *options) { o.advertise = "vpn.example.net" }, "--advertise"},
		{func(o *options) { o.services = []string{"fleet", "console"} }, "no service \"console\""},
		{func(o *options) { o.trustDomain = "Fleet" }, "--trust-domain"},
		{func(o *options) { o.poolIPv4 = "10.0.0.1/16" }, "has host bits: write 10.0.0.0/16"},
		{func(o *options) { o.poolIPv4 = "10.0.0.0/30" }, "from 8 to 29"},
		{func(o *options) { o.poolIPv4 = "fd00::/64" }, "wrong address family"},
		{func(o *options) { o.poolIPv6 = "::ffff:10.0.0.0/112" }, "wrong address family"},
		{func(o *options) { o.poolIPv6 = "fd00::/120" }, "from 32 to 112"},
		{func(o *options) { o.etcdKey = "k" }, "go with --etcd-endpoints"},
	} {
		o := options{name: "c1", listen: ":7443"}
		tt.change(&o)
		err := o.complete()
		if tt.words == "" && err != nil || tt.words != "" && (err == nil || !strings.Contains(err.Error(), tt.words)) {
			t.Errorf("got %v, want %q", err, tt.words)
		}
	}
}
