package ipwire

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// FuzzTuple: a plain packet has a flow, which is no fragment and has ports, and all plain packets of that flow have its
// tuple.
func FuzzTuple(f *testing.F) {
	ports := []byte{0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0}
	for _, b := range [][]byte{ipv4(f, ProtoTCP, 0, ports...), ipv4(f, ProtoUDP, 0x4000, ports...), ipv6(f, ProtoUDP, ports...)} {
		f.Add(b, b)
		other := bytes.Clone(b)
		other[len(other)-8]++
		f.Add(b, other)
	}
	f.Add(ipv4(f, ProtoTCP, 0x2000, ports...), ipv4(f, ProtoTCP, 1, ports...))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		ta, plainA := TupleOf(a)
		tb, plainB := TupleOf(b)
		if plainA {
			fa, err := ParseFlow(a)
			if err != nil || fa.Fragment || fa.Opaque {
				t.Fatalf("a plain packet's flow: %+v, %v: %x", fa, err, a)
			}
		}
		if !plainA || !plainB {
			return
		}
		fa, _ := ParseFlow(a)
		fb, _ := ParseFlow(b)
		if (fa == fb) != (ta == tb) {
			t.Fatalf("flows %+v and %+v, tuples %+v and %+v", fa, fb, ta, tb)
		}
	})
}

// What is not plain is left to ParseFlow.
func TestNotPlain(t *testing.T) {
	ports := []byte{0x12, 0x34, 0x56, 0x78}
	options := ipv4(t, ProtoTCP, 0, ports...)
	options[0]++
	short := ipv4(t, ProtoTCP, 0, ports...)
	binary.BigEndian.PutUint16(short[2:], uint16(len(short)-1))
	for name, b := range map[string][]byte{
		"nothing": nil, "first fragment": ipv4(t, ProtoTCP, 0x2000, ports...), "later fragment": ipv4(t, ProtoTCP, 1, ports...),
		"options": options, "bytes behind": short, "ICMP": ipv4(t, ProtoICMP, 0, ports...), "no ports": ipv4(t, ProtoUDP, 0, ports[:3]...),
		"extension header": ipv6(t, ProtoHopByHop, make([]byte, 8)...), "IPv6 without ports": ipv6(t, ProtoUDP, ports[:3]...),
	} {
		if _, plain := TupleOf(b); plain {
			t.Errorf("%s is plain: %x", name, b)
		}
	}
}
