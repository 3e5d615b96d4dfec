package render

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

func hostColumns() []column {
	return []column{
		{"NAME", false, nameCell},
		{"ADDRESSES", false, func(r *operatorv1.Resource, _ time.Time) Cell {
			return Cell{Text: strings.Join(r.GetHost().GetStatus().GetAddresses(), ",")}
		}},
		{"CONNECTED", false, func(r *operatorv1.Resource, _ time.Time) Cell { return connectedCell(r.GetHost().GetStatus()) }},
		{"ENDPOINT", false, func(r *operatorv1.Resource, _ time.Time) Cell { return Cell{Text: endpoint(r.GetHost())} }},
		{"PAIRS", false, func(r *operatorv1.Resource, _ time.Time) Cell {
			return pairsCell(r.GetHost().GetStatus().GetPairsUp(), r.GetHost().GetStatus().GetPairsWanted())
		}},
		{"AGE", false, ageCell},
		{"SUBNETS", true, func(r *operatorv1.Resource, _ time.Time) Cell {
			return Cell{Text: strings.Join(r.GetHost().GetSpec().GetSubnets(), ",")}
		}},
		{"VERSION", true, func(r *operatorv1.Resource, _ time.Time) Cell {
			return Cell{Text: r.GetHost().GetStatus().GetAgentVersion()}
		}},
		{"EPOCH", true, func(r *operatorv1.Resource, _ time.Time) Cell { return Cell{Text: r.GetHost().GetStatus().GetEpoch()} }},
		{"CERTIFICATE", true, func(r *operatorv1.Resource, now time.Time) Cell {
			return until(r.GetHost().GetStatus().GetCertificateExpireTime(), now)
		}},
		{"LABELS", true, labelsCell},
		{"CONDITIONS", true, func(r *operatorv1.Resource, _ time.Time) Cell {
			return conditionsCell(r.GetHost().GetStatus().GetConditions())
		}},
	}
}

func connectedCell(s *operatorv1.HostStatus) Cell {
	if s.GetConnected() {
		return Cell{"yes", Good}
	}
	return Cell{"no", Bad}
}

// endpoint is where other hosts reach h: what the operator says, else what was observed.
func endpoint(h *operatorv1.Host) string {
	if e := h.GetSpec().GetEndpoints(); len(e) > 0 {
		return strings.Join(e, ",")
	}
	s := h.GetStatus()
	if s.GetObservedAddress() == "" {
		return ""
	}
	e := s.GetObservedAddress()
	if s.GetEspPort() != 0 {
		e = net.JoinHostPort(e, strconv.FormatUint(uint64(s.GetEspPort()), 10))
	}
	if s.GetBehindNat() {
		e += " (NAT)"
	}
	return e
}

func policyColumns() []column {
	spec := func(r *operatorv1.Resource) *operatorv1.PolicySpec { return r.GetPolicy().GetSpec() }
	status := func(r *operatorv1.Resource) *operatorv1.PolicyStatus { return r.GetPolicy().GetStatus() }
	return []column{
		{"NAME", false, nameCell},
		{"HOSTS", false, func(r *operatorv1.Resource, _ time.Time) Cell {
			c := Cell{Text: fmt.Sprint(status(r).GetHostsSelected())}
			if status(r).GetHostsSelected() == 0 {
				c.Style = Warning
			}
			return c
		}},
		{"PAIRS", false, func(r *operatorv1.Resource, _ time.Time) Cell {
			return pairsCell(status(r).GetPairsUp(), status(r).GetPairsWanted())
		}},
		{"PROPOSAL", false, func(r *operatorv1.Resource, _ time.Time) Cell { return Cell{Text: spec(r).GetProposal()} }},
		{"REKEY", false, func(r *operatorv1.Resource, _ time.Time) Cell {
			if spec(r).GetLifetime().GetRekeyTime() == nil {
				return Cell{}
			}
			return Cell{Text: Age(spec(r).GetLifetime().GetRekeyTime().AsDuration())}
		}},
		{"SELECTOR", true, func(r *operatorv1.Resource, _ time.Time) Cell { return Cell{Text: spec(r).GetHosts()} }},
		{"TO", true, func(r *operatorv1.Resource, _ time.Time) Cell { return Cell{Text: spec(r).GetTo()} }},
		{"PRIORITY", true, func(r *operatorv1.Resource, _ time.Time) Cell { return Cell{Text: fmt.Sprint(spec(r).GetPriority())} }},
		{"HARD", true, func(r *operatorv1.Resource, _ time.Time) Cell {
			if spec(r).GetLifetime().GetHardTime() == nil {
				return Cell{}
			}
			return Cell{Text: Age(spec(r).GetLifetime().GetHardTime().AsDuration())}
		}},
		{"AGE", true, ageCell},
		{"LABELS", true, labelsCell},
		{"CONDITIONS", true, func(r *operatorv1.Resource, _ time.Time) Cell { return conditionsCell(status(r).GetConditions()) }},
	}
}

func joinTokenColumns() []column {
	token := func(r *operatorv1.Resource) *operatorv1.JoinToken { return r.GetJoinToken() }
	return []column{
		{"NAME", false, nameCell},
		{"HOST", false, func(r *operatorv1.Resource, _ time.Time) Cell {
			if prefix := token(r).GetSpec().GetNamePrefix(); prefix != "" {
				return Cell{Text: prefix + "*"}
			}
			return Cell{Text: token(r).GetSpec().GetHost()}
		}},
		{"USES", false, func(r *operatorv1.Resource, _ time.Time) Cell {
			return Cell{Text: fmt.Sprintf("%d/%d", len(token(r).GetStatus().GetUses()), token(r).GetSpec().GetMaxUses())}
		}},
		{"ENDS-IN", false, func(r *operatorv1.Resource, now time.Time) Cell {
			return until(token(r).GetSpec().GetExpireTime(), now)
		}},
		{"AGE", false, ageCell},
		{"LABELS", true, func(r *operatorv1.Resource, _ time.Time) Cell {
			return Cell{Text: labels(token(r).GetSpec().GetLabels())}
		}},
		{"JOINED", true, func(r *operatorv1.Resource, _ time.Time) Cell {
			var hosts []string
			for _, u := range token(r).GetStatus().GetUses() {
				hosts = append(hosts, u.GetHost())
			}
			return Cell{Text: strings.Join(hosts, ",")}
		}},
	}
}
