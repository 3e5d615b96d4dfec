package uplink

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"google.golang.org/protobuf/proto"

	"sallyport.dev/sallyport/agent/datapath"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// manualSA is AH in transport mode, as a controller sends it for a manual peer.
func manualSA() (name, *fleetv1.SecurityAssociation) {
	n := name{kind: kindOutbound, id: [16]byte{7}}
	return n, &fleetv1.SecurityAssociation{
		Id: n.id[:], Pair: bytes.Repeat([]byte{2}, 16), Generation: 3, Direction: fleetv1.Direction_DIRECTION_OUTBOUND, Spi: 0x1001,
		Transform: &typesv1.Transform{Integrity: 12}, Key: make([]byte, 32), Manual: true, NoReplayWindow: true,
		Protocol: fleetv1.Protocol_PROTOCOL_AH, Mode: fleetv1.Mode_MODE_TRANSPORT,
		Encapsulation: fleetv1.Encapsulation_ENCAPSULATION_NATIVE, Df: fleetv1.DontFragment_DONT_FRAGMENT_CLEAR,
	}
}

func TestManualAssociation(t *testing.T) {
	n, good := manualSA()
	sa, err := association(n, good)
	if err != nil || sa.Protocol != datapath.AH || sa.Mode != datapath.Transport || sa.Encapsulation != datapath.Native ||
		sa.Outer.DF != datapath.DFClear || sa.ReplayWindow != datapath.NoReplayWindow || sa.Transform != (datapath.Transform{Integrity: 12}) ||
		sa.Hard != (datapath.Lifetime{}) || sa.Soft != (datapath.Lifetime{}) {
		t.Fatalf("%+v, %v", sa, err)
	}
	bad := map[string]func(*fleetv1.SecurityAssociation){
		"no lifetime, and no person's key": func(s *fleetv1.SecurityAssociation) { s.Manual = false },
		"half a lifetime":                  func(s *fleetv1.SecurityAssociation) { s.Hard = &fleetv1.Lifetime{} },
		"protocol":                         func(s *fleetv1.SecurityAssociation) { s.Protocol = 3 },
		"mode":                             func(s *fleetv1.SecurityAssociation) { s.Mode = 3 },
		"encapsulation":                    func(s *fleetv1.SecurityAssociation) { s.Encapsulation = 3 },
		"DF":                               func(s *fleetv1.SecurityAssociation) { s.Df = 4 },
		"no window with ESN":               func(s *fleetv1.SecurityAssociation) { s.Transform.Esn = true },
		"integrity over 16 bit":            func(s *fleetv1.SecurityAssociation) { s.Transform.Integrity = 1<<16 + 12 },
	}
	for what, change := range bad {
		sa := proto.CloneOf(good)
		change(sa)
		if got, err := association(n, sa); err == nil {
			t.Errorf("%s: taken as %v", what, got)
		}
	}
}

// TestWordsOfHandling: every word of the contract has its own of the datapath's, and what is left out is
// ESP in UDP, tunnel mode.
func TestWordsOfHandling(t *testing.T) {
	for _, tt := range []struct {
		change func(*fleetv1.SecurityAssociation)
		want   datapath.SA
	}{
		{func(*fleetv1.SecurityAssociation) {}, datapath.SA{Protocol: datapath.ESP}},
		{func(s *fleetv1.SecurityAssociation) { s.Protocol = fleetv1.Protocol_PROTOCOL_ESP }, datapath.SA{Protocol: datapath.ESP}},
		{func(s *fleetv1.SecurityAssociation) {
			s.Mode, s.Encapsulation, s.Df = fleetv1.Mode_MODE_TUNNEL, fleetv1.Encapsulation_ENCAPSULATION_UDP, fleetv1.DontFragment_DONT_FRAGMENT_COPY
		}, datapath.SA{Protocol: datapath.ESP}},
		{func(s *fleetv1.SecurityAssociation) { s.Df = fleetv1.DontFragment_DONT_FRAGMENT_SET },
			datapath.SA{Protocol: datapath.ESP, Outer: datapath.Outer{DF: datapath.DFSet}}},
		{func(s *fleetv1.SecurityAssociation) {
			s.Transform = &typesv1.Transform{Encryption: 3, Integrity: 2, Insecure: true}
		}, datapath.SA{Protocol: datapath.ESP, Transform: datapath.Transform{ID: 3, Integrity: 2}, Insecure: true}},
		{func(s *fleetv1.SecurityAssociation) {
			s.Transform = &typesv1.Transform{Encryption: 12, KeyBits: 256, Integrity: 14, Esn: true}
		}, datapath.SA{Protocol: datapath.ESP, Transform: datapath.Transform{ID: 12, KeyBits: 256, Integrity: 14}, ESN: true}},
	} {
		n, sa := goodSA()
		sa.Transform = nil
		tt.change(sa)
		if sa.Transform == nil {
			sa.Transform = &typesv1.Transform{Encryption: 20, KeyBits: 256}
			tt.want.Transform = datapath.Transform{ID: 20, KeyBits: 256}
		}
		got, err := association(n, sa)
		if err != nil || got.Protocol != tt.want.Protocol || got.Mode != tt.want.Mode || got.Encapsulation != tt.want.Encapsulation ||
			got.Outer != tt.want.Outer || got.Transform != tt.want.Transform || got.Insecure != tt.want.Insecure || got.ESN != tt.want.ESN {
			t.Errorf("%v: %+v, %v", sa, got, err)
		}
	}
}

func TestManualPair(t *testing.T) {
	n := name{kind: kindPair, id: [16]byte{7}}
	ports := selectorOf("10.0.0.1", "10.0.0.9")
	ports.IpProtocol, ports.StartPort, ports.EndPort = 6, 80, 90
	opaque := selectorOf("10.0.0.1", "10.0.0.9")
	opaque.StartPort, opaque.EndPort = 65535, 0
	p, err := pair(n, &fleetv1.Pair{
		Id: n.id[:], RemoteHost: "branch", Manual: true, Order: 10, Local: []*typesv1.TrafficSelector{ports, opaque},
		Remote: []*typesv1.TrafficSelector{selectorOf("10.2.0.0", "10.2.255.255")}, RemoteAddress: []byte{192, 0, 2, 1}, RemotePort: 4501,
		LocalAddress: []byte{192, 0, 2, 9},
	})
	if err != nil || p.RemoteHost != "manual-peer/branch" || p.Order != 10 || !p.Path.Foreign ||
		p.Path.Local != netip.MustParseAddr("192.0.2.9") || p.Path.Remote != netip.MustParseAddrPort("192.0.2.1:4501") ||
		p.Local[0].Ports != (spd.Ports{First: 80, Last: 90}) || p.Local[0].Proto != 6 || p.Local[1].Ports != spd.OpaquePorts() {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := pair(n, &fleetv1.Pair{
		Id: n.id[:], RemoteHost: "branch", Local: []*typesv1.TrafficSelector{ports}, Remote: []*typesv1.TrafficSelector{ports},
	}); err != nil || p.RemoteHost != "branch" || p.Path.Foreign {
		t.Errorf("a host of the same name: %+v, %v", p, err)
	}
	if _, err := pair(n, &fleetv1.Pair{
		Id: n.id[:], RemoteHost: "branch", Local: []*typesv1.TrafficSelector{ports}, Remote: []*typesv1.TrafficSelector{ports}, LocalAddress: []byte{1},
	}); err == nil {
		t.Error("a local address of one byte is taken")
	}
}

// reserver is a ManualInstaller that notes its calls.
type reserver struct {
	calls []string
	key   []byte
}

func (r *reserver) InstallManual(sa datapath.SA, inbound bool) error {
	r.key = bytes.Clone(sa.Key)
	way := "out"
	if inbound {
		way = "in"
	}
	r.calls = append(r.calls, way)
	return nil
}

// TestManualKeysGoToTheReserver: they never reach an installer that would begin their numbers anew.
func TestManualKeysGoToTheReserver(t *testing.T) {
	n, sa := manualSA()
	key := bytes.Repeat([]byte{9}, 32)
	sa.Key = bytes.Clone(key)
	update := &fleetv1.Update{Name: n.String(), Version: saVersion, Resource: &fleetv1.Update_SecurityAssociation{SecurityAssociation: sa}}
	r := &reserver{}
	a := &applier{manual: r, held: newHoldings()} // without an Installer: a call of it would panic
	if refusal := a.update(update); refusal != nil || len(r.calls) != 1 || r.calls[0] != "out" || !bytes.Equal(r.key, key) {
		t.Fatalf("%v, calls %v", refusal, r.calls)
	}
	if !bytes.Equal(sa.GetKey(), make([]byte, 32)) || !a.held.has(n) {
		t.Error("the key is not cleared, or the association is not held")
	}
	in := name{kind: kindInbound, id: n.id}
	sa.Direction, sa.Key = fleetv1.Direction_DIRECTION_INBOUND, bytes.Clone(key)
	update.Name = in.String()
	if refusal := a.update(update); refusal != nil || len(r.calls) != 2 || r.calls[1] != "in" {
		t.Fatalf("%v, calls %v", refusal, r.calls)
	}
	a = &applier{held: newHoldings()}
	sa.Key = bytes.Clone(key)
	if refusal := a.update(update); refusal == nil || !errors.Is(refusal, errNoManual) || refusal.reason != fleetv1.NackReason_NACK_REASON_FAILED {
		t.Errorf("without one: %v", refusal)
	}
}
