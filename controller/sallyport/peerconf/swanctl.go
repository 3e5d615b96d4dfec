package peerconf

import (
	"fmt"
	"strings"
)

// swanctl writes swanctl.conf.
func (s *side) swanctl() string {
	var b strings.Builder
	line := func(indent int, format string, args ...any) {
		fmt.Fprintf(&b, "%s%s\n", strings.Repeat("  ", indent), fmt.Sprintf(format, args...))
	}
	b.WriteString(s.header("#"))
	line(0, "connections {")
	line(1, "%s {", s.name)
	line(2, "version = 2")
	line(2, "local_addrs = %s", s.local)
	line(2, "remote_addrs = %s", s.remote)
	line(2, "proposals = %s", proposals(s.spec.GetProposals()))
	line(2, "rekey_time = %s", seconds(s.spec.GetLifetime()))
	line(2, "dpd_delay = %.0fs", s.spec.GetDpdInterval().AsDuration().Seconds())
	if s.spec.GetForceUdp() {
		line(2, "encap = yes")
	}
	line(2, "local {")
	line(3, "auth = %s", s.localAuth)
	line(3, "id = %s", quoted(s.localID))
	if s.localAuth == "pubkey" {
		line(3, "# certs = FILE: the certificate of this side")
	}
	line(2, "}")
	line(2, "remote {")
	line(3, "auth = %s", s.auth)
	line(3, "id = %s", quoted(s.ourID))
	if s.auth == "pubkey" {
		line(3, "# cacerts = FILE: the CA of the Credential %s", s.spec.GetLocal().GetCredential())
	}
	line(2, "}")
	line(2, "children {")
	for _, c := range sortedChildren(s.spec) {
		line(3, "%s {", c.GetName())
		line(4, "local_ts = %s", selectors(c.GetRemote()))
		line(4, "remote_ts = %s", selectors(c.GetLocal()))
		line(4, "esp_proposals = %s", proposals(c.GetProposals()))
		line(4, "mode = %s", c.GetMode())
		line(4, "rekey_time = %s", seconds(c.GetLifetime()))
		line(4, "start_action = %s", s.startAction())
		line(4, "dpd_action = clear")
		line(3, "}")
	}
	line(2, "}")
	line(1, "}")
	line(0, "}")
	if name := s.secretOf(); name != "" {
		line(0, "secrets {")
		line(1, "ike-%s {", s.name)
		line(2, "id-1 = %s", quoted(s.localID))
		line(2, "id-2 = %s", quoted(s.ourID))
		line(2, "# the secret of the Credential %s, which nobody is shown", name)
		line(2, "secret = ")
		line(1, "}")
		line(0, "}")
	}
	return b.String()
}

// quoted quotes what the configuration's language would take apart.
func quoted(id string) string {
	if strings.ContainsAny(id, " ,=#{}\"") {
		return `"` + strings.ReplaceAll(id, `"`, `\"`) + `"`
	}
	return id
}
