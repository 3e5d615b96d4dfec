//go:build linux

package netio_test

import (
	"net/netip"
	"strconv"
	"testing"
	"time"

	"sallyport.dev/sallyport/agent/datagram"
	"sallyport.dev/sallyport/agent/netio"
)

// BenchmarkSockets sends 90 datagrams of 1,440 bytes through a veth and receives them, on one goroutine: in messages of
// their own, and in runs. It reports the nanoseconds of each for one datagram; sending includes what the kernel does
// until they are at the receiver's socket.
func BenchmarkSockets(b *testing.B) {
	const size, most = 1440, 45
	for _, e := range bothFamilies() {
		for name, p := range map[string]datagram.Packet{"datagrams": run(size, 0), "runs": run(size*most, size)} {
			for _, batch := range []int{1, 8, 32} {
				b.Run(e.name+"/"+name+"/receive "+strconv.Itoa(batch), func(b *testing.B) {
					w := newWire(b)
					s, peer := w.listen(w.left, e, netio.UDPOptions{}), w.listen(w.right, e, netio.UDPOptions{})
					p.Remote, p.DF = netip.AddrPortFrom(e.to, 4500), true
					if _, err := s.Send([]datagram.Packet{{Data: []byte("where are you"), Remote: p.Remote}}); err != nil {
						b.Fatal(err)
					}
					if _, err := peer.Recv(make([]datagram.Packet, 1)); err != nil {
						b.Fatal(err)
					}
					var out []datagram.Packet
					for range 2 * most / p.Count() {
						out = append(out, p)
					}
					send, receive, n := exchangeFor(b, s, peer, out, make([]datagram.Packet, batch))
					b.ReportMetric(float64(send.Nanoseconds())/float64(n), "ns/sent")
					b.ReportMetric(float64(receive.Nanoseconds())/float64(n), "ns/received")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}

// exchangeFor is how long sending and receiving took, of how many datagrams.
func exchangeFor(b *testing.B, s, peer socket, out, in []datagram.Packet) (send, receive time.Duration, n int) {
	b.Helper()
	for b.Loop() {
		began := time.Now()
		sent, err := s.Send(out)
		if err != nil {
			b.Fatal(err)
		}
		middle := time.Now()
		for got := 0; got < sent; {
			k, err := peer.Recv(in)
			if err != nil {
				b.Fatal(err)
			}
			for i := range in[:k] {
				got += in[i].Count()
			}
		}
		send, receive, n = send+middle.Sub(began), receive+time.Since(middle), n+sent
	}
	return send, receive, n
}
