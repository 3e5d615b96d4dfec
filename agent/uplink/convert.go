package uplink

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"sallyport.dev/sallyport/agent/datapath"
	fleetv1 "sallyport.dev/sallyport/api/sallyport/fleet/v1"
	typesv1 "sallyport.dev/sallyport/api/sallyport/types/v1"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// Bounds of what a controller may say; they are the contract's (sync.proto).
const (
	maxAddresses = 8
	maxPools     = 8
	maxSubnets   = 256
	maxSelectors = 512
	minMTU       = 1280 // IPv6's least
	maxMTU       = 65535
	leastPool4   = 8  // bits, as in the controller's --pool-ipv4
	leastPool6   = 32 // bits, as in the controller's --pool-ipv6
	minKey       = 16
	maxKey       = 256
	maxWindow    = 4096
	reservedSPI  = 255 // RFC 4303 section 2.1

	// manualPrefix keeps the names of manual peers apart from those of hosts, which have no slash: pairs of one
	// name share a path.
	manualPrefix = "manual-peer/"
	// peerPrefix does so with the names of peers.
	peerPrefix = "peer/"
)

func hostConfig(c *fleetv1.HostConfig) (HostConfig, error) {
	if len(c.GetOverlayAddresses()) > maxAddresses || len(c.GetOverlayPrefixes()) > maxPools || len(c.GetSubnets()) > maxSubnets {
		return HostConfig{}, errors.New("too many addresses or prefixes")
	}
	if c.GetMtu() < minMTU || c.GetMtu() > maxMTU {
		return HostConfig{}, fmt.Errorf("MTU %d is not between %d and %d", c.GetMtu(), minMTU, maxMTU)
	}
	out := HostConfig{BehindNAT: c.GetBehindNat(), MTU: int(c.GetMtu())}
	for _, b := range c.GetOverlayAddresses() {
		a, err := address(b)
		if err != nil {
			return HostConfig{}, err
		}
		out.Addresses = append(out.Addresses, a)
	}
	var err error
	if out.Pools, err = prefixes(c.GetOverlayPrefixes()); err != nil {
		return HostConfig{}, err
	}
	for _, p := range out.Pools {
		if err := checkPool(p); err != nil {
			return HostConfig{}, err
		}
	}
	out.Subnets, err = prefixes(c.GetSubnets())
	return out, err
}

// checkPool refuses overlay prefixes that would cut the host off from everything: what lies in a pool is
// reached through the tunnel or not at all.
func checkPool(p netip.Prefix) error {
	least := leastPool4
	if p.Addr().Is6() {
		least = leastPool6
	}
	if p.Bits() < least {
		return fmt.Errorf("overlay prefix %v is too wide: at least /%d", p, least)
	}
	if a := p.Addr(); a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
		return fmt.Errorf("overlay prefix %v is not for unicast addresses", p)
	}
	return nil
}

func prefixes(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("prefix %s is not CIDR", brief(text))
		}
		if p != p.Masked() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("prefix %v has host bits", p)
		}
		out = append(out, p)
	}
	return out, nil
}

func address(b []byte) (netip.Addr, error) {
	a, ok := netip.AddrFromSlice(b)
	if !ok || a.Is4In6() {
		return netip.Addr{}, fmt.Errorf("address of %d bytes is neither IPv4 nor IPv6", len(b))
	}
	return a, nil
}

func pair(n name, p *fleetv1.Pair) (datapath.Pair, error) {
	if len(p.GetId()) != len(n.id) || [16]byte(p.GetId()) != n.id {
		return datapath.Pair{}, errors.New("the pair's id is not the one in the name")
	}
	if !enrol.ValidName(p.GetRemoteHost()) {
		return datapath.Pair{}, fmt.Errorf("the remote host %s is no host's name", brief(p.GetRemoteHost()))
	}
	out := datapath.Pair{
		ID: datapath.PairID(n.id), RemoteHost: p.GetRemoteHost(), Policy: p.GetPolicy(), Order: p.GetOrder(),
		Path: datapath.PathSpec{
			RemoteBehindNAT: p.GetRemoteBehindNat(), LocalBehindNAT: p.GetLocalBehindNat(), Foreign: p.GetManual() || p.GetPeer(),
		},
	}
	if p.GetManual() {
		out.RemoteHost = manualPrefix + p.GetRemoteHost()
	}
	out.Acquire = p.GetAcquire()
	if p.GetPeer() {
		out.RemoteHost = peerPrefix + p.GetRemoteHost()
	}
	var err error
	if b := p.GetLocalAddress(); len(b) > 0 {
		if out.Path.Local, err = address(b); err != nil {
			return datapath.Pair{}, fmt.Errorf("local %w", err)
		}
	}
	if out.Path.Remote, err = remote(p); err != nil {
		return datapath.Pair{}, err
	}
	if out.Local, err = selectors(p.GetLocal()); err != nil {
		return datapath.Pair{}, fmt.Errorf("local: %w", err)
	}
	if out.Remote, err = selectors(p.GetRemote()); err != nil {
		return datapath.Pair{}, fmt.Errorf("remote: %w", err)
	}
	return out, nil
}

// remote is the zero value while the other end's address is not known.
func remote(p *fleetv1.Pair) (netip.AddrPort, error) {
	if len(p.GetRemoteAddress()) == 0 {
		return netip.AddrPort{}, nil
	}
	a, err := address(p.GetRemoteAddress())
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("remote %w", err)
	}
	if p.GetRemotePort() < 1 || p.GetRemotePort() > 65535 {
		return netip.AddrPort{}, fmt.Errorf("remote port %d is not a port", p.GetRemotePort())
	}
	return netip.AddrPortFrom(a, uint16(p.GetRemotePort())), nil
}

func selectors(ts []*typesv1.TrafficSelector) ([]datapath.Selector, error) {
	if len(ts) == 0 || len(ts) > maxSelectors {
		return nil, fmt.Errorf("%d selectors: want 1 to %d", len(ts), maxSelectors)
	}
	out := make([]datapath.Selector, len(ts))
	for i, t := range ts {
		var err error
		if out[i], err = selector(t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func selector(t *typesv1.TrafficSelector) (datapath.Selector, error) {
	first, err := address(t.GetStartAddress())
	if err != nil {
		return datapath.Selector{}, err
	}
	last, err := address(t.GetEndAddress())
	if err != nil {
		return datapath.Selector{}, err
	}
	if first.BitLen() != last.BitLen() || last.Less(first) {
		return datapath.Selector{}, fmt.Errorf("%v to %v is not a range", first, last)
	}
	if t.GetIpProtocol() > 255 || t.GetStartPort() > 65535 || t.GetEndPort() > 65535 {
		return datapath.Selector{}, fmt.Errorf("protocol %d, ports %d to %d: not a selector", t.GetIpProtocol(), t.GetStartPort(), t.GetEndPort())
	}
	s := datapath.Selector{
		First: first, Last: last, Proto: uint8(t.GetIpProtocol()),
		Ports: spd.Ports{First: uint16(t.GetStartPort()), Last: uint16(t.GetEndPort())},
	}
	return s, s.Validate()
}

func association(n name, sa *fleetv1.SecurityAssociation) (datapath.SA, error) {
	want := fleetv1.Direction_DIRECTION_OUTBOUND
	if n.kind == kindInbound {
		want = fleetv1.Direction_DIRECTION_INBOUND
	}
	t := sa.GetTransform()
	switch {
	case len(sa.GetId()) != len(n.id) || [16]byte(sa.GetId()) != n.id || sa.GetDirection() != want:
		return datapath.SA{}, errors.New("id or direction are not those in the name")
	case len(sa.GetPair()) != 16:
		return datapath.SA{}, errors.New("the pair's id has not 16 bytes")
	case sa.GetGeneration() == 0:
		return datapath.SA{}, errors.New("generation 0")
	case sa.GetSpi() <= reservedSPI:
		return datapath.SA{}, fmt.Errorf("SPI %d is reserved (RFC 4303 section 2.1)", sa.GetSpi())
	case t.GetEncryption() > 65535 || t.GetKeyBits() > 512 || t.GetIntegrity() > 65535 || t.GetEncryption()+t.GetIntegrity() == 0:
		return datapath.SA{}, fmt.Errorf("transforms %d with %d bits, %d", t.GetEncryption(), t.GetKeyBits(), t.GetIntegrity())
	case len(sa.GetKey()) < minKey || len(sa.GetKey()) > maxKey:
		return datapath.SA{}, fmt.Errorf("key material of %d bytes: want %d to %d", len(sa.GetKey()), minKey, maxKey)
	case sa.GetReplayWindow() > maxWindow:
		return datapath.SA{}, fmt.Errorf("anti-replay window of %d packets: at most %d", sa.GetReplayWindow(), maxWindow)
	}
	soft, hard, err := lifetimes(sa)
	if err != nil {
		return datapath.SA{}, err
	}
	out := datapath.SA{
		ID: datapath.SAID(n.id), Pair: datapath.PairID(sa.GetPair()), Generation: sa.GetGeneration(), SPI: sa.GetSpi(),
		Transform: datapath.Transform{ID: uint16(t.GetEncryption()), KeyBits: uint16(t.GetKeyBits()), Integrity: uint16(t.GetIntegrity())},
		Insecure:  t.GetInsecure(),
		ESN:       t.GetEsn(), ReplayWindow: int(sa.GetReplayWindow()), Key: sa.GetKey(), Soft: soft, Hard: hard,
	}
	if err := narrow(sa, &out); err != nil {
		return datapath.SA{}, err
	}
	return out, handling(sa, &out)
}

// narrow translates what IKE has agreed on about the traffic.
func narrow(sa *fleetv1.SecurityAssociation, out *datapath.SA) (err error) {
	for _, n := range []struct {
		from []*typesv1.TrafficSelector
		to   *[]datapath.Selector
	}{{sa.GetLocal(), &out.Local}, {sa.GetRemote(), &out.Remote}} {
		if len(n.from) == 0 {
			continue
		}
		if *n.to, err = selectors(n.from); err != nil {
			return err
		}
	}
	for _, n := range []struct {
		from []byte
		to   *netip.Addr
	}{{sa.GetOriginalSource(), &out.NAT.Source}, {sa.GetOriginalDestination(), &out.NAT.Destination}} {
		if len(n.from) == 0 {
			continue
		}
		if *n.to, err = address(n.from); err != nil {
			return err
		}
	}
	return nil
}

// handling translates what is not cryptography. What a controller leaves out is ESP in UDP, tunnel mode.
func handling(sa *fleetv1.SecurityAssociation, out *datapath.SA) error {
	out.Protocol = datapath.ESP
	switch sa.GetProtocol() {
	case fleetv1.Protocol_PROTOCOL_UNSPECIFIED, fleetv1.Protocol_PROTOCOL_ESP:
	case fleetv1.Protocol_PROTOCOL_AH:
		out.Protocol = datapath.AH
	default:
		return fmt.Errorf("security protocol %d", sa.GetProtocol())
	}
	switch sa.GetMode() {
	case fleetv1.Mode_MODE_UNSPECIFIED, fleetv1.Mode_MODE_TUNNEL:
	case fleetv1.Mode_MODE_TRANSPORT:
		out.Mode = datapath.Transport
	default:
		return fmt.Errorf("mode %d", sa.GetMode())
	}
	switch sa.GetEncapsulation() {
	case fleetv1.Encapsulation_ENCAPSULATION_UNSPECIFIED, fleetv1.Encapsulation_ENCAPSULATION_UDP:
	case fleetv1.Encapsulation_ENCAPSULATION_NATIVE:
		out.Encapsulation = datapath.Native
	default:
		return fmt.Errorf("encapsulation %d", sa.GetEncapsulation())
	}
	switch sa.GetDf() {
	case fleetv1.DontFragment_DONT_FRAGMENT_UNSPECIFIED, fleetv1.DontFragment_DONT_FRAGMENT_COPY:
	case fleetv1.DontFragment_DONT_FRAGMENT_SET:
		out.Outer.DF = datapath.DFSet
	case fleetv1.DontFragment_DONT_FRAGMENT_CLEAR:
		out.Outer.DF = datapath.DFClear
	default:
		return fmt.Errorf("DF %d", sa.GetDf())
	}
	if sa.GetNoReplayWindow() {
		if out.ESN {
			return errors.New("no anti-replay window with extended sequence numbers (RFC 4303 section 3.4.3)")
		}
		out.ReplayWindow = datapath.NoReplayWindow
	}
	return nil
}

// lifetimes never lets an association live for ever, unless a person has given its key: the hard limit in
// time must be there, since the datapath reads zero as no limit. A soft limit that has passed on the way is
// reported at once.
func lifetimes(sa *fleetv1.SecurityAssociation) (soft, hard datapath.Lifetime, err error) {
	s, h := sa.GetSoft(), sa.GetHard()
	if sa.GetManual() && s == nil && h == nil {
		return soft, hard, nil
	}
	if !h.GetTime().IsValid() || !s.GetTime().IsValid() {
		return soft, hard, errors.New("a lifetime in time is missing")
	}
	hard = datapath.Lifetime{Time: h.GetTime().AsDuration(), Bytes: h.GetBytes(), Packets: h.GetPackets()}
	if hard.Time <= 0 {
		return soft, hard, errors.New("the hard lifetime has passed")
	}
	soft = datapath.Lifetime{Time: max(s.GetTime().AsDuration(), time.Nanosecond), Bytes: s.GetBytes(), Packets: s.GetPackets()}
	return soft, hard, nil
}
