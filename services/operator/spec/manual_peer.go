package spec

import (
	"fmt"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/proto"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/operator/ipam"
	"sallyport.dev/sallyport/services/protocol/enrol"
	"sallyport.dev/sallyport/services/protocol/plan"
	"sallyport.dev/sallyport/services/protocol/spd"
)

// What a manual peer says when its operator does not; stored.
const (
	DefaultManualProposal  = "aes256-sha256"
	DefaultManualIntegrity = "sha256" // with AH

	DefaultReplayWindow = 2048

	// noReplayWindow turns anti-replay off.
	noReplayWindow = -1
	// reservedSPIs are 0 to 255, RFC 4303 section 2.1.
	reservedSPIs = 256
)

// CompleteManualPeer stores the defaults in p.
func CompleteManualPeer(p *operatorv1.ManualPeer) {
	if p.Spec == nil {
		p.Spec = &operatorv1.ManualPeerSpec{}
	}
	s := p.Spec
	ah := s.GetProtocol() == "ah"
	s.Mode = or(s.GetMode(), "tunnel")
	s.Protocol = or(s.GetProtocol(), "esp")
	s.Df = or(s.GetDf(), "copy")
	if ah {
		s.Proposal = or(s.GetProposal(), DefaultManualIntegrity)
		s.Encapsulation = or(s.GetEncapsulation(), "native")
	} else {
		s.Proposal = or(s.GetProposal(), DefaultManualProposal)
		s.Encapsulation = or(s.GetEncapsulation(), "udp")
	}
	if s.Esn == nil {
		s.Esn = proto.Bool(true)
	}
	if s.GetReplayWindow() == 0 {
		s.ReplayWindow = DefaultReplayWindow
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// CheckManualPeer checks a complete manual peer by itself and against the pools, and returns the keys that
// it brings.
func CheckManualPeer(p *operatorv1.ManualPeer, pools ipam.Pools) (ManualKeys, Report) {
	var r Report
	s := p.GetSpec()
	if !enrol.ValidName(s.GetHost()) {
		r.problem("spec.host", "%s is not a name of a host: name the host that serves the peer", quote(s.GetHost()))
	}
	checkManualWords(s, &r)
	checkManualTraffic(s, pools, &r)
	keys := checkManualKeys(s, checkManualProposal(s, &r), &r)
	checkSPIs(s, &r)
	return keys, r
}

// checkManualWords checks what is chosen out of a few words, and numbers.
func checkManualWords(s *operatorv1.ManualPeerSpec, r *Report) {
	for _, f := range []struct{ field, is, a, b, c string }{
		{"mode", s.GetMode(), "tunnel", "transport", ""},
		{"protocol", s.GetProtocol(), "esp", "ah", ""},
		{"encapsulation", s.GetEncapsulation(), "udp", "native", ""},
		{"df", s.GetDf(), "copy", "set", "clear"},
	} {
		if f.is != f.a && f.is != f.b && (f.c == "" || f.is != f.c) {
			r.problem("spec."+f.field, "%s is none of %s", quote(f.is), strings.TrimSuffix(f.a+", "+f.b+", "+f.c, ", "))
		}
	}
	if s.GetProtocol() == "ah" && s.GetEncapsulation() == "udp" {
		r.problem("spec.encapsulation", "AH cannot go in UDP (RFC 3948 is for ESP, and a NAT breaks AH): write native")
	}
	switch w := s.GetReplayWindow(); {
	case w < noReplayWindow || w > 4096:
		r.problem("spec.replay_window", "%d is not a window of up to 4096 packets, nor -1 for none", w)
	case w > 0 && w < 32:
		r.problem("spec.replay_window", "%d is too small: at least 32 (RFC 4303 section 3.4.3), or -1 for none", w)
	case w == noReplayWindow && s.GetEsn():
		r.problem("spec.replay_window", "-1 goes with esn: false only, since 64-bit sequence numbers need a window (RFC 4303 section 3.4.3)")
	}
}

// checkManualTraffic checks addresses and selectors.
func checkManualTraffic(s *operatorv1.ManualPeerSpec, pools ipam.Pools, r *Report) {
	remote := checkOuter("spec.remote_address", s.GetRemoteAddress(), s.GetEncapsulation() == "udp", r)
	if s.GetRemoteAddress() == "" {
		r.problem("spec.remote_address", "is missing: give the peer's address")
	}
	local := checkOuter("spec.local_address", s.GetLocalAddress(), false, r)
	if local.IsValid() && remote.IsValid() && local.Is4() != remote.Is4() {
		r.problem("spec.local_address", "%s and the remote address %s are not of one family", local, remote)
	}
	for _, o := range []struct {
		field string
		a     netip.Addr
	}{{"spec.local_address", local}, {"spec.remote_address", remote}} {
		if o.a.IsValid() && pools.Contains(o.a) {
			r.problem(o.field, "%s lies in the fleet's own address pool: give an address of the underlay", o.a)
		}
	}
	locals := checkSelectors("spec.local", s.GetLocal(), r)
	remotes := checkSelectors("spec.remote", s.GetRemote(), r)
	for _, sel := range remotes {
		if pools.Contains(sel.First) || pools.Contains(sel.Last) {
			r.warn("spec.remote reaches into the fleet's address pool: with an order it comes before what the fleet's policies protect")
			break
		}
	}
	if s.GetMode() == "transport" {
		checkTransport("spec.local", locals, local, r)
		checkTransport("spec.remote", remotes, remote, r)
	}
}

// checkOuter reads an outer address; the zero value when there is none or it is wrong.
func checkOuter(field, text string, port bool, r *Report) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	ap, wrong := ParseEndpoint(text)
	switch {
	case wrong != "":
		r.problem(field, "%s", wrong)
		return netip.Addr{}
	case ap.Port() != 0 && !port && field == "spec.local_address":
		r.problem(field, "%s has a port, but the host's is its agent's own: give the address alone", quote(text))
	case ap.Port() != 0 && !port:
		r.problem(field, "%s has a port, but only encapsulation udp has ports: give the address alone", quote(text))
	}
	return ap.Addr()
}

func checkSelectors(field string, texts []string, r *Report) (all []spd.Selector) {
	if len(texts) == 0 {
		r.problem(field, "is empty: name the traffic, for example 10.1.0.0/16")
	}
	for i, text := range texts {
		found, err := spd.ParseSelectors(text)
		if err != nil {
			r.problem(fmt.Sprintf("%s[%d]", field, i), "%v", err)
		}
		all = append(all, found...)
	}
	return all
}

// checkTransport: transport mode keeps the addresses of a packet, so that they are the outer ones.
func checkTransport(field string, selectors []spd.Selector, outer netip.Addr, r *Report) {
	for i, s := range selectors {
		if s.First != s.Last || outer.IsValid() && s.First != outer {
			where := ""
			if outer.IsValid() {
				where = " " + outer.String()
			}
			r.problem(fmt.Sprintf("%s[%d]", field, i), "transport mode protects packets between the two ends themselves: name the end's own address%s", where)
			return
		}
	}
}

func checkSPIs(s *operatorv1.ManualPeerSpec, r *Report) {
	for _, d := range []struct {
		field   string
		a       *operatorv1.ManualAssociation
		inbound bool
	}{{"spec.inbound", s.GetInbound(), true}, {"spec.outbound", s.GetOutbound(), false}} {
		switch spi := d.a.GetSpi(); {
		case d.a == nil:
			r.problem(d.field, "is missing: give the direction's spi and key")
		case spi < reservedSPIs:
			r.problem(d.field+".spi", "%d is reserved: SPIs begin at 256 (RFC 4303 section 2.1)", spi)
		case d.inbound && spi >= plan.FirstSPI:
			r.problem(d.field+".spi", "%d is of those that controllers give out (from %d): choose one from 256 to %d", spi, plan.FirstSPI, plan.FirstSPI-1)
		}
	}
}

// Clash says why a manual peer cannot be beside another one of the fleet: an inbound SPI that the same host
// has already, or a key that is in use.
func Clash(p, other *operatorv1.ManualPeer) Report {
	var r Report
	name := other.GetMetadata().GetName()
	if p.GetSpec().GetHost() == other.GetSpec().GetHost() && p.GetSpec().GetInbound().GetSpi() == other.GetSpec().GetInbound().GetSpi() {
		r.problem("spec.inbound.spi", "%d is the inbound SPI of manual peer %q on host %q already: choose another one",
			p.GetSpec().GetInbound().GetSpi(), name, p.GetSpec().GetHost())
	}
	for _, d := range []struct{ field, mark string }{
		{"spec.inbound.key", p.GetSpec().GetInbound().GetFingerprint()}, {"spec.outbound.key", p.GetSpec().GetOutbound().GetFingerprint()},
	} {
		if d.mark != "" && (d.mark == other.GetSpec().GetInbound().GetFingerprint() || d.mark == other.GetSpec().GetOutbound().GetFingerprint()) {
			r.problem(d.field, "is a key of manual peer %q already: each association needs a key of its own", name)
		}
	}
	return r
}

// SameKey adds the problem of one key in both directions.
func (r *Report) SameKey(s *operatorv1.ManualPeerSpec) {
	if mark := s.GetInbound().GetFingerprint(); mark != "" && mark == s.GetOutbound().GetFingerprint() {
		r.problem("spec.outbound.key", "is the inbound key: each direction needs a key of its own")
	}
}
