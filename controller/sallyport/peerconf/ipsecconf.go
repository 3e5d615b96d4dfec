package peerconf

import (
	"fmt"
	"strings"
)

// ipsecConf writes ipsec.conf, and as a comment the line of ipsec.secrets.
func (s *side) ipsecConf() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, "\t%s\n", fmt.Sprintf(format, args...)) }
	b.WriteString(s.header("#"))
	if name := s.secretOf(); name != "" {
		fmt.Fprintf(&b, "# ipsec.secrets needs a line with the secret of the Credential %s, which nobody is shown:\n#   %s %s : PSK \"...\"\n", name, s.localID, s.ourID)
	}
	fmt.Fprintf(&b, "conn %s\n", s.name)
	line("keyexchange=ikev2")
	line("ike=%s!", proposals(s.spec.GetProposals()))
	line("ikelifetime=%s", seconds(s.spec.GetLifetime()))
	line("dpddelay=%.0fs", s.spec.GetDpdInterval().AsDuration().Seconds())
	line("dpdaction=clear")
	if s.spec.GetForceUdp() {
		line("forceencaps=yes")
	}
	for _, end := range []struct{ side, address, id, auth string }{
		{"left", s.local, s.localID, s.localAuth}, {"right", s.remote, s.ourID, s.auth},
	} {
		line("%s=%s", end.side, end.address)
		line("%sid=%s", end.side, quoted(end.id))
		line("%sauth=%s", end.side, end.auth)
	}
	if s.localAuth == "pubkey" {
		line("# leftcert=FILE: the certificate of this side")
	}
	for _, c := range sortedChildren(s.spec) {
		fmt.Fprintf(&b, "conn %s-%s\n", s.name, c.GetName())
		line("also=%s", s.name)
		line("leftsubnet=%s", selectors(c.GetRemote()))
		line("rightsubnet=%s", selectors(c.GetLocal()))
		line("esp=%s!", proposals(c.GetProposals()))
		line("type=%s", c.GetMode())
		line("lifetime=%s", seconds(c.GetLifetime()))
		line("auto=%s", map[string]string{"start": "start", "none": "add"}[s.startAction()])
	}
	return b.String()
}
