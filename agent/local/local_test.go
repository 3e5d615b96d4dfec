package local_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/local"
	"sallyport.dev/sallyport/agent/uplink"
)

func association(pair, generation byte, inbound bool, left time.Duration) datapath.SAStatus {
	return datapath.SAStatus{
		ID: datapath.SAID{pair, generation}, Pair: datapath.PairID{pair}, Inbound: inbound, Generation: uint32(generation), SPI: 0x100,
		Transform: datapath.Transform{ID: 20, KeyBits: 256}, Left: left, Age: time.Minute,
	}
}

func TestAlone(t *testing.T) {
	cases := map[string]struct {
		sas  []datapath.SAStatus
		want time.Duration
	}{
		"none":             {nil, 0},
		"inbound only":     {[]datapath.SAStatus{association(1, 1, true, time.Hour)}, 0},
		"the newest lasts": {[]datapath.SAStatus{association(1, 1, false, time.Hour), association(1, 2, false, 8*time.Hour)}, 8 * time.Hour},
		"the first to end": {[]datapath.SAStatus{association(1, 1, false, 3*time.Hour), association(2, 1, false, 2*time.Hour)}, 2 * time.Hour},
	}
	for name, c := range cases {
		if got := local.Alone(c.sas); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestSocket(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	var v local.Status
	if err := local.Get(t.Context(), dir, "status", &v); !errors.Is(err, local.ErrNotRunning) {
		t.Errorf("without an agent: %v", err)
	}
	pairs := []datapath.PairStatus{
		{ID: datapath.PairID{2}, RemoteHost: "web-3", InboundGeneration: 1},
		{ID: datapath.PairID{1}, RemoteHost: "web-2", InboundGeneration: 1, OutboundGeneration: 1, Received: true, SinceReceived: 5 * time.Second},
	}
	sas := []datapath.SAStatus{association(1, 1, true, time.Hour), association(1, 1, false, time.Hour), association(2, 1, true, time.Hour)}
	source := local.Source{
		Status:       func() local.Status { return local.Summarise("v1", uplink.Status{Host: "web-1"}, nil, pairs, sas) },
		Associations: func() []local.Association { return local.Associations(pairs, sas) },
		Counters: func(context.Context) (local.Counters, error) {
			return local.Counters{}, errors.New("nft: not found")
		},
	}
	serve(t, dir, source)
	if info, err := os.Stat(filepath.Join(dir, local.Socket)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
	if _, err := local.Listen(dir); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("a second agent: %v", err)
	}
	if err := local.Get(t.Context(), dir, "status", &v); err != nil {
		t.Fatal(err)
	}
	if v.Uplink.Host != "web-1" || v.Pairs != 2 || v.PairsUp != 1 || v.Associations != 3 || v.AloneSeconds != 3600 ||
		v.Peers[0].Host != "web-2" || !v.Peers[0].Up || v.Peers[0].ReceivedSecondsAgo != 5 || v.Peers[1].ReceivedSecondsAgo != -1 {
		t.Errorf("status = %+v", v)
	}
	var list []local.Association
	if err := local.Get(t.Context(), dir, "sa", &list); err != nil || len(list) != 3 || list[0].Direction != "in" || list[1].Direction != "out" || list[2].Host != "web-3" {
		t.Errorf("sa = %+v, %v", list, err)
	}
	var c local.Counters
	if err := local.Get(t.Context(), dir, "counters", &c); err == nil || !strings.Contains(err.Error(), "nft: not found") {
		t.Errorf("counters: %v", err)
	}
}

func TestSocketOfAKilledAgentIsReplaced(t *testing.T) {
	dir := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(dir, local.Socket))
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	listener.Close()
	serve(t, dir, local.Source{Status: func() local.Status { return local.Status{Version: "v2"} }})
	var v local.Status
	if err := local.Get(t.Context(), dir, "status", &v); err != nil || v.Version != "v2" {
		t.Errorf("%+v, %v", v, err)
	}
}

// serve answers on a socket in dir until the test ends.
func serve(t *testing.T, dir string, source local.Source) {
	t.Helper()
	listener, err := local.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- local.Serve(ctx, listener, source) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
