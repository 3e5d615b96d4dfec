package install

import (
	"net/netip"

	"sallyport.dev/sallyport/agent/datapath"
)

// remotePrefixes are the prefixes of a pair's other side. Ports and protocols do not count: what goes
// there goes into the tunnel, and the SPD decides.
func remotePrefixes(p datapath.Pair) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range p.Remote {
		out = append(out, rangePrefixes(s.First, s.Last)...)
	}
	return out
}

// rangePrefixes is the shortest list of prefixes that covers just [first, last]: at most 254. Both are of
// one family, and in order.
func rangePrefixes(first, last netip.Addr) []netip.Prefix {
	if first.BitLen() == 0 || first.BitLen() != last.BitLen() || last.Less(first) {
		return nil
	}
	var out []netip.Prefix
	for {
		bits := first.BitLen()
		for bits > 0 {
			wider := netip.PrefixFrom(first, bits-1)
			if wider.Masked().Addr() != first || last.Less(lastAddress(wider)) {
				break
			}
			bits--
		}
		p := netip.PrefixFrom(first, bits)
		out = append(out, p)
		end := lastAddress(p)
		if !end.Less(last) {
			return out
		}
		first = end.Next()
	}
}

func lastAddress(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
