package datapath

import (
	"encoding/binary"
	"testing"

	"sallyport.dev/sallyport/services/protocol/esp"
	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// meeting is a packet to dst that workers remember in the place where they remember another.
func meeting(t *testing.T, other []byte, dst string) []byte {
	t.Helper()
	want, _ := ipwire.TupleOf(other)
	p := inner("10.9.0.1", dst, 40)
	for port := range 1 << 16 {
		binary.BigEndian.PutUint16(p[20:], uint16(port))
		if got, plain := ipwire.TupleOf(p); plain && got.Hash()%flowMemo == want.Hash()%flowMemo {
			return p
		}
	}
	t.Fatal("no port leads there")
	return nil
}

// move makes the pair of a still datapath one of another address.
func move(t *testing.T, d *Datapath) {
	t.Helper()
	p := pairOf("9", "9", PathSpec{Remote: aAddr, RemoteBehindNAT: true})
	if err := d.SetPair(p); err != nil {
		t.Fatal(err)
	}
}

// What is remembered of a flow is of no other one, and of no other policy.
func TestMemoOutbound(t *testing.T) {
	d, tun, conn := still(t)
	s := newSender(d)
	send := func(packets ...[]byte) {
		tun.queue = packets
		for len(tun.queue) > 0 {
			n, _ := s.read(true)
			s.forward(n)
		}
	}
	good := inner("10.9.0.1", "10.9.0.1", 40)
	bad := meeting(t, good, "10.9.0.7")
	send(good, bad, good)
	if n := drops(d)[OutNoPolicy.String()]; conn.datagrams != 2 || n != 1 {
		t.Errorf("%d datagrams, drops %v", conn.datagrams, drops(d))
	}
	move(t, d)
	send(good)
	if n := drops(d)[OutNoPolicy.String()]; conn.datagrams != 2 || n != 2 {
		t.Errorf("under another policy: %d datagrams, drops %v", conn.datagrams, drops(d))
	}
}

func TestMemoInbound(t *testing.T) {
	d, tun, conn := still(t)
	r, sealer := newReceiver(d, linkUDP, conn), sealer(t, half(1, 1))
	receive := func(packets ...[]byte) {
		for i, p := range packets {
			sealed, err := sealer.Seal(make([]byte, 0, 2000), p, esp.NextHeaderIPv4)
			if err != nil {
				t.Fatal(err)
			}
			arrive(r, i, sealed, aAddr)
		}
		r.deliver(len(packets))
	}
	good := inner("10.9.0.1", "10.9.0.1", 40)
	bad := meeting(t, good, "10.9.0.7")
	receive(good, bad, good, bad)
	if n := drops(d)[InSelector.String()]; tun.packets != 2 || n != 2 {
		t.Errorf("%d packets, drops %v", tun.packets, drops(d))
	}
	move(t, d)
	receive(good)
	if n := drops(d)[InSelector.String()]; tun.packets != 2 || n != 3 {
		t.Errorf("under another policy: %d packets, drops %v", tun.packets, drops(d))
	}
}
