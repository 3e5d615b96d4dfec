package uplink_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/agent/install"
	"sallyport.dev/sallyport/agent/netio"
	"sallyport.dev/sallyport/agent/offload"
	"sallyport.dev/sallyport/agent/uplink"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
)

// memoryNetwork is a host's network that keeps what was applied. It fails when it is told to.
type memoryNetwork struct {
	desired netio.Desired
	failing bool
}

func (n *memoryNetwork) Apply(_ context.Context, d netio.Desired) error {
	if n.failing {
		return fmt.Errorf("as wished")
	}
	n.desired = d
	return nil
}

func (n *memoryNetwork) Repair(context.Context) ([]string, error) { return nil, nil }
func (n *memoryNetwork) SetMTU(int) error                         { return nil }

// idle is a device and a socket on which nothing ever comes. A datapath that does not run only keeps its
// tables.
type idle struct{}

func (idle) Read([]byte, bool) (int, error)         { select {} }
func (idle) Write([][]byte) error                   { return nil }
func (idle) Recv([]datagram.Packet) (int, error)    { select {} }
func (idle) Send(ps []datagram.Packet) (int, error) { return len(ps), nil }
func (idle) PathErrors(func(datagram.PathError))    {}
func (idle) Features() offload.Features             { return offload.Features{} }
func (idle) Close() error                           { return nil }

// witness is the installer, and knows which keys were ever taken for sending.
type witness struct {
	*install.Installer
	t    *testing.T
	held map[datapath.SAID]bool
	gone map[string]uint32 // the highest generation by pair and direction
}

func (w *witness) note(way string, sa datapath.SA, err error) error {
	at := way + sa.Pair.String()
	if err != nil || w.held[sa.ID] && way == "out" {
		return err
	}
	if way == "out" {
		w.held[sa.ID] = true
		if sa.Generation <= w.gone[at] {
			w.t.Errorf("generation %d of %s was installed after %d: its nonces come again", sa.Generation, at, w.gone[at])
		}
		w.gone[at] = sa.Generation
	}
	return nil
}

func (w *witness) InstallOutbound(sa datapath.SA) error {
	return w.note("out", sa, w.Installer.InstallOutbound(sa))
}

func (w *witness) RemoveOutbound(id datapath.SAID) error {
	err := w.Installer.RemoveOutbound(id)
	if err == nil {
		delete(w.held, id)
	}
	return err
}

// program makes messages of bytes: mostly such as a controller sends, in any order, some with a field that
// is wrong, some that are noise.
type program struct{ rest []byte }

func (p *program) byte() byte {
	if len(p.rest) == 0 {
		return 0
	}
	b := p.rest[0]
	p.rest = p.rest[1:]
	return b
}

// few is a small number, so that names meet again.
func (p *program) few() byte { return p.byte()%4 + 1 }

func (p *program) bytes(n int) []byte {
	n = min(n, len(p.rest))
	out := bytes.Clone(p.rest[:n])
	p.rest = p.rest[n:]
	return out
}

func (p *program) message() *fleetv1.SyncResponse {
	switch op := p.byte() % 16; op {
	case 0, 1, 2:
		u := pairUpdate(p.few(), uint64(p.few()))
		u.GetPair().Remote[0] = &typesv1.TrafficSelector{StartAddress: []byte{10, p.few(), 0, p.byte()}, EndAddress: []byte{10, p.few(), 0, p.byte()}, EndPort: 65535}
		return updateOf(p.spoil(u))
	case 3, 4, 5, 6:
		u := saUpdate(p.few(), op%2 == 0)
		u.GetSecurityAssociation().Generation = uint32(p.few())
		return updateOf(p.spoil(u))
	case 7, 8:
		return removeOf(sa(p.few(), "in"), 2)
	case 9:
		return removeOf(sa(p.few(), "out"), 2)
	case 10:
		return removeOf(pairOf(p.few()), 9)
	case 11:
		return updateOf(p.spoil(configUpdate(uint64(p.few()))))
	case 12:
		return &fleetv1.SyncResponse{Message: &fleetv1.SyncResponse_Position{Position: at(int64(p.byte()))}}
	case 13:
		return &fleetv1.SyncResponse{Message: &fleetv1.SyncResponse_Welcome{Welcome: &fleetv1.Welcome{
			Position: at(int64(p.byte())), ReportInterval: &durationpb.Duration{Seconds: int64(int8(p.byte())) << 55}, TrustBundle: [][]byte{p.bytes(9)},
		}}}
	case 14:
		if p.byte() == 0 {
			return &fleetv1.SyncResponse{Message: &fleetv1.SyncResponse_Removed{Removed: &fleetv1.Removed{Reason: string(p.bytes(9))}}}
		}
	}
	m := new(fleetv1.SyncResponse)
	_ = proto.Unmarshal(p.bytes(int(p.byte())), m)
	return m
}

// spoil replaces some bytes of the message, so that a field is wrong or gone.
func (p *program) spoil(u *fleetv1.Update) *fleetv1.Update {
	if p.byte() < 200 {
		return u
	}
	raw, err := proto.Marshal(u)
	if err != nil {
		return u
	}
	at := int(binary.BigEndian.Uint16(append(p.bytes(2), 0, 0))) % len(raw)
	raw[at] ^= p.byte()
	out := new(fleetv1.Update)
	if proto.Unmarshal(raw, out) != nil {
		return u
	}
	return out
}

func updateOf(u *fleetv1.Update) *fleetv1.SyncResponse {
	return &fleetv1.SyncResponse{Message: &fleetv1.SyncResponse_Update{Update: u}}
}

func removeOf(name string, version uint64) *fleetv1.SyncResponse {
	return &fleetv1.SyncResponse{Message: &fleetv1.SyncResponse_Remove{Remove: &fleetv1.Remove{Name: name, Version: version}}}
}

// FuzzObey is a hostile controller with a real datapath at the other end. Whatever it says: nothing
// panics, each Update and Remove is answered once, keys are cleared, no generation is sent under twice, what
// is held is what is installed, and every pair that is acknowledged is guarded.
func FuzzObey(f *testing.F) {
	dir := f.TempDir()
	state, err := uplink.OpenState(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { state.Close() })
	key, err := state.Key()
	if err != nil {
		f.Fatal(err)
	}
	ca := newAuthority(f)
	id := ca.issue("web-1", key.Signer().Public())
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 12, 5})
	f.Add([]byte{0, 1, 1, 1, 1, 1, 1, 0, 4, 1, 0, 0, 9, 1, 4, 1, 0, 0, 4, 1, 1, 0, 7, 1, 9, 1, 10, 1, 14, 0, 'x'})
	f.Add([]byte{11, 1, 250, 0, 9, 1, 0, 1, 1, 1, 1, 1, 1, 250, 0, 30, 2, 15, 4, 8, 1, 2, 3, 4, 5, 6, 7})
	f.Fuzz(func(t *testing.T, raw []byte) {
		network := &memoryNetwork{}
		dp, err := datapath.New(datapath.Config{TUN: idle{}, UDP: datapath.Sockets{IPv4: idle{}}, Clock: func() time.Duration { return time.Second }})
		if err != nil {
			t.Fatal(err)
		}
		installer, err := install.New(t.Context(), install.Config{Datapath: dp, Network: network})
		if err != nil {
			t.Fatal(err)
		}
		w := &witness{Installer: installer, t: t, held: map[datapath.SAID]bool{}, gone: map[string]uint32{}}
		o := uplink.NewObedient(t, id.GetCertificateChain()[0], ca.root, key, state, w)
		messages := []*fleetv1.SyncResponse{{Message: &fleetv1.SyncResponse_Welcome{Welcome: &fleetv1.Welcome{
			Position: at(1), ReportInterval: durationpb.New(time.Hour), TrustBundle: [][]byte{ca.root},
		}}}}
		for p := (program{raw}); len(p.rest) > 0 && len(messages) < 200; {
			messages = append(messages, p.message())
		}
		network.failing = len(raw)%7 == 3
		sent, err := o.Obey(messages)
		if err == nil {
			t.Fatal("a stream that ended has no reason")
		}
		checkAnswers(t, messages, sent)
		if in := len(dp.SAs()); in != o.Held() {
			t.Errorf("%d associations are installed, and %d are held", in, o.Held())
		}
		for _, p := range ackedPairs(messages, sent) {
			for _, s := range p.GetRemote() {
				first, _ := netip.AddrFromSlice(s.GetStartAddress())
				if !guarded(network.desired.Remote, first) {
					t.Errorf("%v of an acknowledged pair is not guarded", first)
				}
			}
		}
	})
}

// checkAnswers wants one answer, in order, for each message that asks for one, until the stream ended.
func checkAnswers(t *testing.T, messages []*fleetv1.SyncResponse, sent []*fleetv1.SyncRequest) {
	t.Helper()
	for _, m := range messages {
		name, version := m.GetUpdate().GetName(), m.GetUpdate().GetVersion()
		if r := m.GetRemove(); r != nil {
			name, version = r.GetName(), r.GetVersion()
		} else if m.GetUpdate() == nil {
			continue
		}
		if len(sent) == 0 {
			return // a protocol error or Removed came before
		}
		a := sent[0]
		sent = sent[1:]
		if a.GetAck().GetName()+a.GetNack().GetName() != name || a.GetAck().GetVersion()+a.GetNack().GetVersion() != version {
			t.Fatalf("%v was answered by %v", m, a)
		}
		if k := m.GetUpdate().GetSecurityAssociation().GetKey(); len(bytes.Trim(k, "\x00")) != 0 {
			t.Error("a key was not cleared")
		}
	}
	if len(sent) != 0 {
		t.Fatalf("answers to nothing: %v", sent)
	}
}

// ackedPairs are the pairs that are there in the end.
func ackedPairs(messages []*fleetv1.SyncResponse, sent []*fleetv1.SyncRequest) map[string]*fleetv1.Pair {
	pairs := map[string]*fleetv1.Pair{}
	for _, m := range messages {
		if m.GetUpdate() == nil && m.GetRemove() == nil {
			continue
		}
		if len(sent) == 0 {
			break
		}
		if a := sent[0].GetAck(); a != nil {
			if p := m.GetUpdate().GetPair(); p != nil {
				pairs[a.GetName()] = p
			} else if m.GetRemove() != nil {
				delete(pairs, a.GetName())
			}
		}
		sent = sent[1:]
	}
	return pairs
}

func guarded(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
