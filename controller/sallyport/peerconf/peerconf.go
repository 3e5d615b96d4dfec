// Package peerconf writes the configuration that the other side of a Peer needs, in the languages of strongSwan.
package peerconf

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

// Formats are the languages.
func Formats() []string { return []string{"swanctl", "ipsec.conf"} }

// ErrFormat: nobody writes that language.
var ErrFormat = errors.New("no such format")

// Write writes a peer's own configuration in a format. gateway is the outer address of the host that serves it; empty
// leaves it to whoever reads. Secrets are not in it: nobody is shown them. Errors: ErrFormat.
func Write(format string, p *operatorv1.Peer, gateway string) (string, error) {
	s := newSide(p, gateway)
	switch format {
	case "swanctl":
		return s.swanctl(), nil
	case "ipsec.conf":
		return s.ipsecConf(), nil
	}
	return "", fmt.Errorf("%w: %q: there are %s", ErrFormat, format, strings.Join(Formats(), ", "))
}

// side is the peer's own view: what is ours is remote to it.
type side struct {
	name            string
	spec            *operatorv1.PeerSpec
	local, remote   string // outer addresses
	localID, ourID  string
	notes           []string // what a person has to do
	localAuth, auth string   // strongSwan's words
}

// unknown stands where a person has to write something.
const unknown = "%any"

func newSide(p *operatorv1.Peer, gateway string) *side {
	s := &side{name: p.GetMetadata().GetName(), spec: p.GetSpec(), local: unknown, remote: gateway}
	if all := s.spec.GetRemoteAddresses(); len(all) == 1 {
		if _, err := netip.ParseAddr(all[0]); err == nil {
			s.local = all[0]
		}
	}
	if own := s.spec.GetLocalAddress(); own != "" {
		s.remote = own
	}
	if s.remote == "" {
		s.remote = unknown
		s.note("the address of host %s is not known: write it in the place of %s", strings.Join(s.spec.GetHosts(), " or "), unknown)
	}
	s.localID, s.ourID = s.identity(s.spec.GetRemote(), s.local), s.identity(s.spec.GetLocal(), s.remote)
	s.localAuth, s.auth = s.authentication(s.spec.GetRemote()), s.authentication(s.spec.GetLocal())
	return s
}

func (s *side) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// identity is an end's, in words that strongSwan has too.
func (s *side) identity(a *operatorv1.PeerAuthentication, address string) string {
	switch id := a.GetId(); {
	case id == "":
		return address
	case id == "any" || strings.Contains(id, "*"):
		s.note("any identity that is in %q will do: write it in the place of %s", id, unknown)
		return unknown
	default:
		return id
	}
}

func (s *side) authentication(a *operatorv1.PeerAuthentication) string {
	switch a.GetMethod() {
	case "psk":
		return "psk"
	case "null":
		s.note("strongSwan has no NULL authentication (RFC 7619)")
		return "psk"
	}
	return "pubkey"
}

// header says what a person has to know.
func (s *side) header(mark string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s The other side of Sallyport's peer %q.\n", mark, s.name)
	for _, n := range s.notes {
		fmt.Fprintf(&b, "%s %s\n", mark, n)
	}
	return b.String()
}

// addresses are selectors' address parts; strongSwan wants prefixes or ranges.
func addresses(text string) (address, protocol string) {
	address, protocol, _ = strings.Cut(text, " ")
	switch address {
	case "any4":
		address = "0.0.0.0/0"
	case "any6":
		address = "::/0"
	}
	return address, strings.TrimSpace(protocol)
}

// selectors writes selectors as swanctl and ipsec.conf do: ADDRESSES[PROTOCOL/PORTS].
func selectors(texts []string) string {
	var all []string
	for _, text := range texts {
		address, protocol := addresses(text)
		if protocol != "" {
			address += "[" + protocol + "]"
		}
		all = append(all, address)
	}
	return strings.Join(all, ",")
}

// proposals of ESP and of IKE are the same words; what says nothing about sequence numbers allows both.
func proposals(all []string) string { return strings.Join(all, ",") }

// startAction is what the peer does: it waits when we begin, and the other way round.
func (s *side) startAction() string {
	if s.spec.GetStart() == "always" {
		return "none"
	}
	return "start"
}

// secretOf names the Credential with a pre-shared key, "" when there is none.
func (s *side) secretOf() string {
	for _, a := range []*operatorv1.PeerAuthentication{s.spec.GetRemote(), s.spec.GetLocal()} {
		if a.GetMethod() == "psk" {
			return a.GetCredential()
		}
	}
	return ""
}

// seconds writes a lifetime.
func seconds(l *operatorv1.PeerLifetime) string {
	return fmt.Sprintf("%.0fs", l.GetRekeyTime().AsDuration().Seconds())
}

func sortedChildren(s *operatorv1.PeerSpec) []*operatorv1.PeerChild {
	return slices.SortedFunc(slices.Values(s.GetChildren()), func(a, b *operatorv1.PeerChild) int {
		return strings.Compare(a.GetName(), b.GetName())
	})
}
