package capture

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/services/protocol/ipwire"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// read returns the packets of a capture, and the interfaces' names.
func read(t *testing.T, capture []byte) (packets [][]byte, faces []string) {
	t.Helper()
	r, err := pcapgo.NewNgReader(bytes.NewReader(capture), pcapgo.NgReaderOptions{WantMixedLinkType: true})
	if err != nil {
		t.Fatal(err)
	}
	for {
		data, info, err := r.ReadPacketData()
		if err != nil {
			return packets, faces
		}
		face, err := r.Interface(info.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		packets, faces = append(packets, data), append(faces, face.Name)
	}
}

func TestWhatIsRecorded(t *testing.T) {
	inner := echo(t, "10.1.0.1", "10.2.0.2")
	v4 := datapath.Tapped{Protocol: 17, Data: []byte("outer ESP"), Remote: netip.MustParseAddrPort("192.0.2.2:4501"), Local: netip.MustParseAddr("192.0.2.1")}
	v6 := datapath.Tapped{Protocol: 17, Data: []byte("outer ESP"), Remote: netip.MustParseAddrPort("[2001:db8::2]:4500"), Inbound: true}
	native := datapath.Tapped{Protocol: 50, Data: echo(t, "192.0.2.1", "192.0.2.2")}
	taps := []datapath.Tapped{{Inner: true, Data: inner}, v4, v6, native}
	packets, faces := read(t, record(t, Options{}, taps...))
	if len(packets) != 4 || faces[0] != "inner" || faces[1] != "outer" || faces[2] != "outer" || faces[3] != "outer" {
		t.Fatalf("%d packets of %v", len(packets), faces)
	}
	if !bytes.Equal(packets[0], inner) || !bytes.Equal(packets[3], native.Data) {
		t.Error("an IP packet is not as it was")
	}
	flow, err := ipwire.ParseFlow(packets[1])
	if err != nil || flow.Src != v4.Local || flow.SrcPort != 4500 || flow.Dst != v4.Remote.Addr() || flow.DstPort != 4501 || !bytes.HasSuffix(packets[1], v4.Data) {
		t.Errorf("IPv4 outer flow %+v, %v", flow, err)
	}
	flow, err = ipwire.ParseFlow(packets[2])
	if err != nil || flow.Src != v6.Remote.Addr() || flow.Dst != netip.IPv6Unspecified() || flow.DstPort != 4500 {
		t.Errorf("IPv6 outer flow %+v, %v", flow, err)
	}
	if packets, faces = read(t, record(t, Options{Inner: true}, taps...)); len(packets) != 1 || faces[0] != "inner" {
		t.Errorf("with inner alone: %v", faces)
	}
	if packets, _ = read(t, record(t, Options{Outer: true, SnapLen: 64}, taps...)); len(packets) != 3 || len(packets[2]) != 64 {
		t.Errorf("cut to 64 bytes: %d packets", len(packets))
	}
}

func TestASlowWriterLosesPacketsAndSaysSo(t *testing.T) {
	r, err := New(Options{Packets: queueLen}, 4500)
	if err != nil {
		t.Fatal(err)
	}
	for range queueLen + 3 {
		r.Packet(datapath.Tapped{Inner: true, Data: []byte{0x45}})
	}
	done, err := r.Write(context.Background(), new(bytes.Buffer))
	if err != nil || done.Packets != queueLen || done.Lost != 3 {
		t.Errorf("%+v, %v", done, err)
	}
}

// broken is a reader that has gone away.
type broken struct{}

var errGone = errors.New("gone")

func (broken) Write([]byte) (int, error) { return 0, errGone }

func TestTheEndOfACapture(t *testing.T) {
	r, err := New(Options{}, 4500)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Write(context.Background(), broken{}); !errors.Is(err, errGone) {
		t.Errorf("a reader that is gone: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Write(ctx, new(bytes.Buffer)); err != nil {
		t.Errorf("ended: %v", err)
	}
	if _, err := New(Options{SnapLen: 5}, 4500); err == nil {
		t.Error("a snapshot length of 5 was taken")
	}
}

// TestTableLines: what Wireshark cannot know is left out and told, and no key of the wrong length is printed.
func TestTableLines(t *testing.T) {
	sa := func(f func(*datapath.SA)) datapath.KeyedSA {
		k := datapath.KeyedSA{Remote: netip.MustParseAddr("2001:db8::1"), SA: datapath.SA{SPI: 0x1234, ESN: true,
			Transform: datapath.Transform{ID: transform.EncrAESCBC, KeyBits: 128, Integrity: transform.IntegHMACSHA2_256_128}, Key: bytes.Repeat([]byte{0xab}, 48)}}
		if f != nil {
			f(&k.SA)
		}
		return k
	}
	line, ok := TableLine(sa(nil))
	want := `"IPv6","*","*","0x00001234","AES-CBC [RFC3602]","0x` + string(bytes.Repeat([]byte("ab"), 16)) + `","HMAC-SHA-256-128 [RFC4868]","0x` + string(bytes.Repeat([]byte("ab"), 32)) + `","64-bit","0"`
	if !ok || line != want {
		t.Errorf("line %v %s", ok, line)
	}
	var b bytes.Buffer
	unknown, err := WriteTable(&b, []datapath.KeyedSA{
		sa(func(sa *datapath.SA) { sa.Protocol = datapath.AH }),
		sa(func(sa *datapath.SA) { sa.Key = sa.Key[1:] }),
		sa(func(sa *datapath.SA) {
			sa.Transform = datapath.Transform{ID: transform.EncrChaCha20Poly1305}
			sa.Key = sa.Key[:36]
		}),
		sa(func(sa *datapath.SA) { sa.Transform.ID = 999 }),
	})
	if err != nil || len(unknown) != 3 || bytes.Contains(b.Bytes(), []byte("abab")) {
		t.Errorf("%d unknown, %v: %s", len(unknown), err, b.String())
	}
}
