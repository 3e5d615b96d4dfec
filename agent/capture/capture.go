// Package capture writes what the datapath carries as pcapng, and the table of keys with which Wireshark decrypts
// it. A capture shows traffic in clear: it is off unless the agent was started with --allow-capture, and whoever
// asks for one is logged.
//
//	interface 0 "inner"   packets at the TUN, before sealing and after opening
//	interface 1 "outer"   packets at the sockets; those in UDP get the IP and UDP headers that they have on the wire
package capture

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// Options say what to capture.
type Options struct {
	// Inner and Outer choose the packets; neither means both.
	Inner bool `json:"inner,omitempty"`
	Outer bool `json:"outer,omitempty"`
	// SnapLen is how much of each packet is kept, bytes; 0 means all.
	SnapLen int `json:"snaplen,omitempty"`
	// Packets ends the capture after so many; 0 means no limit.
	Packets uint64 `json:"packets,omitempty"`
}

// queueLen is how many packets wait for the writer; more are lost, and counted.
const queueLen = 4096

// Recorder takes packets from the datapath and writes them. Packet may be called by many goroutines.
type Recorder struct {
	options Options
	port    uint16 // our UDP port
	queue   chan packet
	lost    atomic.Uint64
}

type packet struct {
	at   time.Time
	wire int // length before SnapLen
	data []byte
	face int
}

const (
	faceInner = 0
	faceOuter = 1
)

// New makes a recorder. port is our UDP port, for the headers of outgoing packets.
func New(o Options, port uint16) (*Recorder, error) {
	if o.SnapLen < 0 || o.SnapLen > 0 && o.SnapLen < 64 {
		return nil, fmt.Errorf("capture: a snapshot length of %d bytes shows nothing: want 64 or more, or 0 for whole packets", o.SnapLen)
	}
	if !o.Inner && !o.Outer {
		o.Inner, o.Outer = true, true
	}
	return &Recorder{options: o, port: port, queue: make(chan packet, queueLen)}, nil
}

// Packet queues a packet. It does not wait: when the writer is too slow, the packet is lost to the capture.
func (r *Recorder) Packet(t datapath.Tapped) {
	if t.Inner && !r.options.Inner || !t.Inner && !r.options.Outer {
		return
	}
	p := packet{at: time.Now(), face: faceInner}
	switch {
	case t.Inner:
		p.data = append(p.data, t.Data...)
	case t.Protocol == ipwire.ProtoUDP:
		p.face, p.data = faceOuter, r.inUDP(t)
	default:
		p.face, p.data = faceOuter, append(p.data, t.Data...)
	}
	p.wire = len(p.data)
	if n := r.options.SnapLen; n > 0 && n < len(p.data) {
		p.data = p.data[:n]
	}
	select {
	case r.queue <- p:
	default:
		r.lost.Add(1)
	}
}

// inUDP puts headers before a UDP payload. An address of ours that only the kernel knows is unspecified.
func (r *Recorder) inUDP(t datapath.Tapped) []byte {
	local := t.Local
	if !local.IsValid() || local.Is4() != t.Remote.Addr().Is4() {
		local = netip.IPv6Unspecified()
		if t.Remote.Addr().Is4() {
			local = netip.IPv4Unspecified()
		}
	}
	src, dst := netip.AddrPortFrom(local, r.port), t.Remote
	if t.Inbound {
		src, dst = dst, src
	}
	header := ipwire.IPv6HeaderLen
	if dst.Addr().Is4() {
		header = ipwire.IPv4MinHeaderLen
	}
	b := make([]byte, header+ipwire.UDPHeaderLen+len(t.Data))
	copy(b[header+ipwire.UDPHeaderLen:], t.Data)
	if _, err := ipwire.PutUDP(b[header:], src, dst); err != nil {
		return t.Data // longer than any UDP datagram
	}
	if dst.Addr().Is4() {
		_, _ = ipwire.PutIPv4(b, ipwire.IPv4Header{TTL: 64, Protocol: ipwire.ProtoUDP, Src: src.Addr(), Dst: dst.Addr()})
	} else {
		_, _ = ipwire.PutIPv6(b, ipwire.IPv6Header{NextHeader: ipwire.ProtoUDP, HopLimit: 64, Src: src.Addr(), Dst: dst.Addr()})
	}
	return b
}

// Result is how a capture went.
type Result struct {
	Packets uint64 // written
	Lost    uint64 // because writing was too slow
}

// Write writes packets to w until ctx ends, or as many as were asked for. Each batch is flushed when the queue is
// empty, so that a reader at the other end of a pipe sees them at once.
func (r *Recorder) Write(ctx context.Context, w io.Writer) (Result, error) {
	var done Result
	options := pcapgo.DefaultNgWriterOptions
	options.SectionInfo.Application = "sallyport-agent"
	face := func(name, description string) pcapgo.NgInterface {
		return pcapgo.NgInterface{Name: name, Description: description, LinkType: layers.LinkTypeRaw,
			SnapLength: uint32(r.options.SnapLen), TimestampResolution: 9}
	}
	ng, err := pcapgo.NewNgWriterInterface(w, face("inner", "packets at the TUN, in clear"), options)
	if err == nil {
		_, err = ng.AddInterface(face("outer", "ESP and AH packets of the underlay"))
	}
	if err == nil {
		err = ng.Flush()
	}
	for err == nil && (r.options.Packets == 0 || done.Packets < r.options.Packets) {
		select {
		case <-ctx.Done():
			done.Lost = r.lost.Load()
			return done, ng.Flush()
		case p := <-r.queue:
			info := gopacket.CaptureInfo{Timestamp: p.at, CaptureLength: len(p.data), Length: p.wire, InterfaceIndex: p.face}
			if err = ng.WritePacket(info, p.data); err == nil {
				done.Packets++
			}
			if err == nil && len(r.queue) == 0 {
				err = ng.Flush()
			}
		}
	}
	done.Lost = r.lost.Load()
	if err == nil {
		err = ng.Flush()
	}
	return done, err
}
