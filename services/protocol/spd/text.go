package spd

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/services/protocol/ipwire"
)

// ErrText: a selector is not written as ParseSelector reads it.
var ErrText = errors.New("spd: cannot read the selector")

// ParseSelector reads a selector as people write it, and as String does:
//
//	ADDRESSES [PROTOCOL[/PORTS]]
//
//	ADDRESSES  10.1.0.0/16   192.0.2.1   192.0.2.1-192.0.2.9   2001:db8::/32   any4   any6
//	PROTOCOL   tcp   icmpv6   47   any
//	PORTS      443   1000-2000   any   opaque
//	           of icmp and icmpv6 type and code:   8   128/0   1-4   3/0-3/4
//
// An ICMP type alone stands for all its codes. Errors: ErrText, with what to write instead.
func ParseSelector(text string) (Selector, error) {
	all, err := ParseSelectors(text)
	switch {
	case err != nil:
		return Selector{}, err
	case len(all) > 1:
		return Selector{}, fmt.Errorf("%w: %q is IPv4 and IPv6; write any4 or any6 here", ErrText, text)
	}
	return all[0], nil
}

// ParseSelectors is ParseSelector that also takes "any" for addresses: both families, one selector each.
func ParseSelectors(text string) ([]Selector, error) {
	addresses, traffic, _ := strings.Cut(strings.TrimSpace(text), " ")
	if addresses == "" {
		return nil, fmt.Errorf("%w: it is empty; write for instance 10.1.0.0/16 tcp/443, or any", ErrText)
	}
	proto, ports, err := parseTraffic(strings.TrimSpace(traffic))
	if err != nil {
		return nil, err
	}
	names := []string{addresses}
	if addresses == "any" {
		names = []string{"any4", "any6"}
	}
	var all []Selector
	for _, name := range names {
		s, err := parseAddresses(name)
		if err != nil {
			return nil, err
		}
		s.Proto, s.Ports = proto, ports
		all = append(all, s)
	}
	return all, nil
}

func parseAddresses(text string) (Selector, error) {
	switch text {
	case "any4":
		return Prefix(netip.PrefixFrom(netip.IPv4Unspecified(), 0)), nil
	case "any6":
		return Prefix(netip.PrefixFrom(netip.IPv6Unspecified(), 0)), nil
	}
	if strings.Contains(text, "/") {
		return parsePrefix(text)
	}
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	var s Selector
	var err error
	if s.First, err = parseAddr(first); err != nil {
		return Selector{}, err
	}
	if s.Last, err = parseAddr(last); err != nil {
		return Selector{}, err
	}
	s.Ports = AnyPorts()
	if err := s.Validate(); err != nil {
		return Selector{}, fmt.Errorf("%w: %q: %w", ErrText, text, err)
	}
	return s, nil
}

func parsePrefix(text string) (Selector, error) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return Selector{}, fmt.Errorf("%w: %q is no prefix; write for instance 10.1.0.0/16 or 2001:db8::/32", ErrText, text)
	case p != p.Masked():
		return Selector{}, fmt.Errorf("%w: %q has bits set behind its length; write %v for the network or %v for the one address", ErrText, text, p.Masked(), p.Addr())
	}
	return Prefix(p), nil
}

func parseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		return a, fmt.Errorf("%w: %q is no address; write for instance 192.0.2.1, 10.1.0.0/16, 192.0.2.1-192.0.2.9, any4 or any6", ErrText, text)
	case a.Zone() != "":
		return a, fmt.Errorf("%w: %q has a zone, which no packet carries; leave %%%s out", ErrText, text, a.Zone())
	}
	return a, nil
}

// parseTraffic reads PROTOCOL[/PORTS]; nothing is any.
func parseTraffic(text string) (proto uint8, ports Ports, err error) {
	if text == "" {
		return 0, AnyPorts(), nil
	}
	name, rest, hasPorts := strings.Cut(text, "/")
	if proto, err = parseProtocol(name); err != nil {
		return 0, Ports{}, err
	}
	switch {
	case !hasPorts, rest == "any":
		return proto, AnyPorts(), nil
	case rest == "opaque":
		return proto, OpaquePorts(), nil
	}
	first, last, isRange := strings.Cut(rest, "-")
	if !isRange {
		last = first
	}
	one := parsePort
	if isICMP(proto) {
		one = parseICMP
	}
	if ports.First, _, err = one(first); err != nil {
		return 0, Ports{}, err
	}
	if _, ports.Last, err = one(last); err != nil {
		return 0, Ports{}, err
	}
	if ports.First > ports.Last {
		return 0, Ports{}, fmt.Errorf("%w: %q runs downwards; write the lower end first", ErrText, rest)
	}
	return proto, ports, nil
}

func isICMP(proto uint8) bool { return proto == ipwire.ProtoICMP || proto == ipwire.ProtoICMPv6 }

func parsePort(text string) (first, last uint16, err error) {
	n, ok := parseNumber(text, 65535)
	if !ok {
		return 0, 0, fmt.Errorf("%w: %q is no port; write 0 to 65535, a range like 1000-2000, any, or opaque for packets without ports", ErrText, text)
	}
	return uint16(n), uint16(n), nil
}

// parseICMP reads TYPE or TYPE/CODE: type<<8|code.
func parseICMP(text string) (first, last uint16, err error) {
	t, c, hasCode := strings.Cut(text, "/")
	typ, ok := parseNumber(t, 255)
	if !ok {
		return 0, 0, fmt.Errorf("%w: %q is no ICMP type; write 0 to 255, for instance 8 or 8/0 with a code", ErrText, t)
	}
	first = uint16(typ) << 8
	if !hasCode {
		return first, first | 255, nil
	}
	code, ok := parseNumber(c, 255)
	if !ok {
		return 0, 0, fmt.Errorf("%w: %q is no ICMP code; write 0 to 255, or the type alone for all codes", ErrText, c)
	}
	return first | uint16(code), first | uint16(code), nil
}

// parseNumber takes decimal digits alone: no sign, no leading zero.
func parseNumber(text string, limit uint64) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 16)
	return n, err == nil && n <= limit && (text[0] != '0' || len(text) == 1)
}

// String is how ParseSelector reads the selector; of one that is not well-formed, whatever it has.
func (s Selector) String() string {
	text := s.addresses()
	if s.Proto == 0 && s.Ports == AnyPorts() {
		return text
	}
	text += " " + protocolName(s.Proto)
	switch s.Ports {
	case AnyPorts():
		return text
	case OpaquePorts():
		return text + "/opaque"
	}
	return text + "/" + s.Ports.format(isICMP(s.Proto))
}

// addresses are an address, else a prefix, else a range.
func (s Selector) addresses() string {
	if s.First == s.Last {
		return s.First.String()
	}
	if !s.First.IsValid() || s.First.BitLen() != s.Last.BitLen() {
		return s.First.String() + "-" + s.Last.String()
	}
	for n := range s.First.BitLen() {
		if p := netip.PrefixFrom(s.First, n); p.Masked() == p && lastAddr(p) == s.Last {
			return p.String()
		}
	}
	return s.First.String() + "-" + s.Last.String()
}

func (p Ports) format(icmp bool) string {
	if !icmp {
		if p.First == p.Last {
			return fmt.Sprint(p.First)
		}
		return fmt.Sprintf("%d-%d", p.First, p.Last)
	}
	first, last := p.First>>8, p.Last>>8
	switch {
	case p.First == p.Last:
		return fmt.Sprintf("%d/%d", first, p.First&255)
	case p.First&255 != 0 || p.Last&255 != 255:
		return fmt.Sprintf("%d/%d-%d/%d", first, p.First&255, last, p.Last&255)
	case first == last:
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d-%d", first, last)
}

// MarshalText is String, for JSON. A selector that is not well-formed is an error.
func (s Selector) MarshalText() ([]byte, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return []byte(s.String()), nil
}

// UnmarshalText is ParseSelector.
func (s *Selector) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSelector(string(text))
	return err
}

// MarshalText is String, for JSON.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what String writes.
func (a *Action) UnmarshalText(text []byte) error {
	for _, known := range []Action{Discard, Bypass, Protect} {
		if known.String() == string(text) {
			*a = known
			return nil
		}
	}
	return fmt.Errorf("%w: the action %q is none of PROTECT, BYPASS and DISCARD", ErrText, text)
}
