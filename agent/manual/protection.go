package manual

import (
	"math"
	"net/netip"
	"strings"

	"go.yaml.in/yaml/v3"

	"sallyport.dev/sallyport/agent/datapath"
	"sallyport.dev/sallyport/services/protocol/replay"
	"sallyport.dev/sallyport/services/protocol/spd"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// protection reads what belongs to action: protect.
func (d *decoder) protection(m fields, n *yaml.Node, p *Policy, insecure bool) *Protection {
	var spec datapath.SA // what both directions have
	spec.Insecure = insecure
	spec.Mode = []datapath.Mode{datapath.Tunnel, datapath.Transport}[d.word(m, "mode", "tunnel", "transport")]
	spec.Protocol = []datapath.Protocol{datapath.ESP, datapath.AH}[d.word(m, "protocol", "esp", "ah")]
	spec.Encapsulation = d.encapsulation(m, spec.Protocol)
	spec.ESN = d.boolean(m, "esn", true)
	spec.Soft, spec.Hard = d.lifetimes(m)
	d.fits(m, spec)
	for _, name := range []string{"proposal", "in", "out"} {
		if _, given := m[name]; !given {
			d.fail(n, nil, "%s of %q is missing: it is protected by what?", name, p.Name)
		}
	}
	var suite transform.Suite
	known := false
	if _, given := m["proposal"]; given {
		if suite, known = d.proposal(m, spec.Protocol, insecure); known {
			spec.Transform = datapath.Transform{ID: suite.Encryption.ID, KeyBits: suite.Encryption.KeyBits, Integrity: suite.Integrity.ID}
		}
	}
	out := &Protection{Path: d.path(m, n, p, spec), Populate: d.populate(m)}
	in := spec
	in.ReplayWindow = d.replayWindow(m, spec.ESN)
	in.NAT = d.originalAddresses(m)
	spec.Outer = d.outer(m)
	out.In = d.association(m, "in", in, suite, known)
	out.Out = d.association(m, "out", spec, suite, known)
	return out
}

func (d *decoder) encapsulation(m fields, protocol datapath.Protocol) datapath.Encapsulation {
	e, given := m["encapsulation"]
	if protocol == datapath.AH {
		if given && d.word(m, "encapsulation", "native", "udp") == 1 {
			d.fail(e.value, nil, "encapsulation: AH does not travel in UDP, it covers the addresses that a NAT changes (RFC 3948 section 1): use native, or ESP")
		}
		return datapath.Native
	}
	return []datapath.Encapsulation{datapath.UDP, datapath.Native}[d.word(m, "encapsulation", "udp", "native")]
}

// fits refuses fields that mean nothing with this protocol, mode or encapsulation.
func (d *decoder) fits(m fields, sa datapath.SA) {
	refuse := func(wrong bool, why string, names ...string) {
		for _, name := range names {
			if e, given := m[name]; given && wrong {
				d.fail(e.key, nil, "%s %s: remove it", name, why)
			}
		}
	}
	refuse(sa.Mode == datapath.Transport, "is for tunnel mode: transport mode keeps the packet's own header", "df", "dscp", "ecn", "hop-limit")
	refuse(sa.Mode == datapath.Transport || sa.Protocol == datapath.AH, "is for ESP in tunnel mode (RFC 4303 section 2.7)", "pad")
	refuse(sa.Mode == datapath.Tunnel && sa.Encapsulation == datapath.UDP, "is for native ESP and AH: the kernel makes the header of UDP", "hop-limit")
	refuse(sa.Protocol == datapath.AH, "is for ESP: AH has no dummy packets", "dummy-interval")
	refuse(sa.Protocol != datapath.AH, "is for AH", "ah-align")
	refuse(sa.Encapsulation != datapath.UDP, "is for ESP in UDP: only that passes a NAT", "local-behind-nat", "remote-behind-nat")
	refuse(sa.Encapsulation != datapath.UDP || sa.Mode != datapath.Transport,
		"is for transport mode in UDP, whose inner checksums a NAT breaks (RFC 3948 section 3.1.2)", "original-addresses")
}

// path reads where the other end is.
func (d *decoder) path(m fields, n *yaml.Node, p *Policy, sa datapath.SA) datapath.PathSpec {
	path := datapath.PathSpec{Local: d.address(m, "local-address"), Remote: d.remoteAddress(m, sa.Encapsulation),
		LocalBehindNAT: d.boolean(m, "local-behind-nat", false), RemoteBehindNAT: d.boolean(m, "remote-behind-nat", false)}
	// Only an end that may move is probed. Another stack does not answer, and is not followed.
	path.Foreign = !path.RemoteBehindNAT
	remote := path.Remote.Addr()
	e, given := m["remote-address"]
	switch {
	case sa.Mode == datapath.Tunnel && !given && !path.RemoteBehindNAT:
		d.fail(n, nil, "remote-address of %q is missing: tunnel mode needs to know where the other end is", p.Name)
	case path.Local.IsValid() && remote.IsValid() && path.Local.Is4() != remote.Is4():
		d.fail(e.value, nil, "local-address %v and remote-address %v are of different families", path.Local, remote)
	case sa.Mode == datapath.Transport:
		d.oneFamily(m, p, path)
	}
	return path
}

// oneFamily: in transport mode the packets' addresses are the SA's.
func (d *decoder) oneFamily(m fields, p *Policy, path datapath.PathSpec) {
	var four, six bool
	for _, s := range append(append([]spd.Selector(nil), p.Local...), p.Remote...) {
		four, six = four || s.First.Is4(), six || s.First.Is6()
	}
	if four && six {
		d.fail(m["mode"].value, nil, "transport mode: %q has selectors of IPv4 and IPv6, and the two ends of an SA are of one family: write two policies (any4 and any6 instead of any)", p.Name)
		return
	}
	for _, name := range []string{"local-address", "remote-address"} {
		a := path.Local
		if name == "remote-address" {
			a = path.Remote.Addr()
		}
		if e, given := m[name]; given && a.IsValid() && (four && !a.Is4() || six && a.Is4()) {
			d.fail(e.value, nil, "%s %v is of another family than the selectors: in transport mode the packets' addresses are the SA's", name, a)
		}
	}
}

// natPort is RFC 3948's.
const natPort = 4500

func (d *decoder) remoteAddress(m fields, encapsulation datapath.Encapsulation) netip.AddrPort {
	e, given := m["remote-address"]
	if !given {
		return netip.AddrPort{}
	}
	if encapsulation == datapath.Native {
		return netip.AddrPortFrom(d.address(m, "remote-address"), 0)
	}
	text, ok := d.text(e.value, "remote-address")
	if !ok {
		return netip.AddrPort{}
	}
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.AddrPortFrom(d.address(m, "remote-address"), natPort)
	}
	if a := ap.Addr(); ap.Port() == 0 || a.Is4In6() || a.Zone() != "" || a.IsUnspecified() {
		d.fail(e.value, nil, "remote-address %q: nobody receives there", text)
	}
	return ap
}

func (d *decoder) replayWindow(m fields, esn bool) int {
	e, given := m["replay-window"]
	if !given {
		return 0
	}
	size := d.number(m, "replay-window", 0, replay.MaxSize)
	switch {
	case size == 0 && esn:
		d.fail(e.value, replay.ErrESN, "replay-window 0: extended sequence numbers need a window (RFC 4303 section 3.3.3): say esn: false at both ends, or a window from %d to %d", replay.MinSize, replay.MaxSize)
	case size > 0 && size < replay.MinSize:
		d.fail(e.value, replay.ErrSize, "replay-window %d: want 0, which is off, or %d to %d", size, replay.MinSize, replay.MaxSize)
	case size == 0:
		return datapath.NoReplayWindow
	}
	return int(size)
}

func (d *decoder) originalAddresses(m fields) (a datapath.OriginalAddresses) {
	if e, given := m["original-addresses"]; given {
		if o, ok := d.mapping(e.value, "original-addresses", []string{"source", "destination"}); ok {
			a.Source, a.Destination = d.address(o, "source"), d.address(o, "destination")
		}
	}
	return a
}

func (d *decoder) outer(m fields) (o datapath.Outer) {
	o.DF = []datapath.DF{datapath.DFCopy, datapath.DFSet, datapath.DFClear}[d.word(m, "df", "copy", "set", "clear")]
	o.CopyDSCP = true
	if e, given := m["dscp"]; given && e.value.Value != "copy" {
		o.CopyDSCP, o.DSCP = false, uint8(d.number(m, "dscp", 0, 63))
	}
	o.NoECN = !d.boolean(m, "ecn", true)
	o.HopLimit = uint8(d.number(m, "hop-limit", 1, 255))
	o.Pad = int(d.number(m, "pad", 0, 65535))
	o.DummyInterval = d.duration(m, "dummy-interval")
	o.MTU = d.pathMTU(m)
	if e, given := m["ah-align"]; given {
		align := d.number(m, "ah-align", 4, 8)
		if align != 0 && align != 4 && align != 8 {
			d.fail(e.value, nil, "ah-align %d: want 4 (RFC 4302 section 2.6) or 8", align)
		}
		o.Align8 = align == 8
	}
	return o
}

// leastMTU is IPv4's least that every host can reassemble, RFC 791 section 3.1.
const leastMTU = 576

func (d *decoder) pathMTU(m fields) int {
	mtu := d.number(m, "path-mtu", 0, 65535)
	if mtu > 0 && mtu < leastMTU {
		d.fail(m["path-mtu"].value, nil, "path-mtu %d: want 0, which is the link's, or %d to 65535", mtu, leastMTU)
	}
	return int(mtu)
}

func (d *decoder) lifetimes(m fields) (soft, hard datapath.Lifetime) {
	e, given := m["lifetime"]
	if !given {
		return soft, hard
	}
	l, ok := d.mapping(e.value, "lifetime", []string{"soft-bytes", "hard-bytes", "soft-packets", "hard-packets", "soft-time", "hard-time"})
	if !ok {
		return soft, hard
	}
	read := func(kind string) datapath.Lifetime {
		return datapath.Lifetime{Time: d.duration(l, kind+"-time"), Bytes: d.number(l, kind+"-bytes", 0, math.MaxUint64),
			Packets: d.number(l, kind+"-packets", 0, math.MaxUint64)}
	}
	soft, hard = read("soft"), read("hard")
	if soft.Time > hard.Time && hard.Time > 0 || soft.Bytes > hard.Bytes && hard.Bytes > 0 || soft.Packets > hard.Packets && hard.Packets > 0 {
		d.fail(e.key, nil, "lifetime: a soft bound is above the hard one: nobody would be warned")
	}
	return soft, hard
}

func (d *decoder) populate(m fields) (p spd.Populate) {
	e, given := m["populate"]
	if !given {
		return p
	}
	flags := map[string]*bool{"local-address": &p.LocalAddress, "remote-address": &p.RemoteAddress, "protocol": &p.Protocol,
		"local-port": &p.LocalPort, "remote-port": &p.RemotePort}
	for _, n := range d.list(e) {
		text, ok := d.text(n, "populate")
		if flag := flags[text]; flag != nil {
			*flag = true
		} else if ok {
			d.fail(n, nil, "populate: unknown selector %q: want %s", text, strings.Join([]string{"local-address", "remote-address", "protocol", "local-port", "remote-port"}, ", "))
		}
	}
	return p
}
