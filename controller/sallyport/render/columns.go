package render

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/resource"
)

// Columns shows one kind as a table.
type Columns struct {
	columns []column
	wide    bool
	now     time.Time
}

type column struct {
	name string
	wide bool
	cell func(r *operatorv1.Resource, now time.Time) Cell
}

// ColumnsOf returns the columns of a kind, with wide all of them. Ages count from now.
func ColumnsOf(k resource.Kind, wide bool, now time.Time) Columns {
	c := Columns{wide: wide, now: now}
	switch k.Enum {
	case operatorv1.Kind_KIND_HOST:
		c.columns = hostColumns()
	case operatorv1.Kind_KIND_POLICY:
		c.columns = policyColumns()
	case operatorv1.Kind_KIND_JOIN_TOKEN:
		c.columns = joinTokenColumns()
	case operatorv1.Kind_KIND_SECURITY_ASSOCIATION:
		c.columns = associationColumns()
	case operatorv1.Kind_KIND_EVENT:
		c.columns = eventColumns()
	default:
		c.columns = []column{{"NAME", false, nameCell}, {"AGE", false, ageCell}}
	}
	return c
}

// Header returns the names of the columns.
func (c Columns) Header() []string {
	var names []string
	for _, col := range c.columns {
		if !col.wide || c.wide {
			names = append(names, col.name)
		}
	}
	return names
}

// Row returns the cells of a resource.
func (c Columns) Row(r *operatorv1.Resource) []Cell {
	var row []Cell
	for _, col := range c.columns {
		if !col.wide || c.wide {
			row = append(row, col.cell(r, c.now))
		}
	}
	return row
}

func nameCell(r *operatorv1.Resource, _ time.Time) Cell {
	return Cell{Text: resource.Metadata(r).GetName()}
}

func ageCell(r *operatorv1.Resource, now time.Time) Cell {
	t := resource.Metadata(r).GetCreateTime()
	if t == nil {
		return Cell{}
	}
	return Cell{Text: Age(now.Sub(t.AsTime()))}
}

func labelsCell(r *operatorv1.Resource, _ time.Time) Cell {
	return Cell{Text: labels(resource.Metadata(r).GetLabels())}
}

func labels(m map[string]string) string {
	var pairs []string
	for k, v := range m {
		pairs = append(pairs, k+"="+v)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

func conditionsCell(list []*operatorv1.Condition) Cell {
	var types []string
	for _, c := range list {
		types = append(types, c.GetType())
	}
	return Cell{strings.Join(types, ","), Warning}
}

// pairsCell shows up/wanted, in red while they differ.
func pairsCell(up, wanted uint32) Cell {
	c := Cell{Text: fmt.Sprintf("%d/%d", up, wanted)}
	if up < wanted {
		c.Style = Bad
	}
	return c
}

// until shows how long it is to t.
func until(t *timestamppb.Timestamp, now time.Time) Cell {
	if t == nil {
		return Cell{}
	}
	left := t.AsTime().Sub(now)
	if left <= 0 {
		return Cell{"ended", Warning}
	}
	return Cell{Text: Age(left)}
}

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

func associationColumns() []column {
	text := func(get func(*operatorv1.SecurityAssociationStatus) string) func(*operatorv1.Resource, time.Time) Cell {
		return func(r *operatorv1.Resource, _ time.Time) Cell {
			return Cell{Text: get(r.GetSecurityAssociation().GetStatus())}
		}
	}
	return []column{
		{"SOURCE", false, text((*operatorv1.SecurityAssociationStatus).GetSource)},
		{"DEST", false, text((*operatorv1.SecurityAssociationStatus).GetDestination)},
		{"SPI", false, text(func(s *operatorv1.SecurityAssociationStatus) string { return fmt.Sprintf("0x%08x", s.GetSpi()) })},
		{"GEN", false, text(func(s *operatorv1.SecurityAssociationStatus) string { return fmt.Sprint(s.GetGeneration()) })},
		{"PHASE", false, func(r *operatorv1.Resource, _ time.Time) Cell {
			return phaseCell(r.GetSecurityAssociation().GetStatus())
		}},
		{"PROPOSAL", false, text((*operatorv1.SecurityAssociationStatus).GetProposal)},
		{"REKEY-IN", false, func(r *operatorv1.Resource, now time.Time) Cell {
			return rekeyCell(r.GetSecurityAssociation().GetStatus(), now)
		}},
		{"ENDS-IN", false, func(r *operatorv1.Resource, now time.Time) Cell {
			return until(r.GetSecurityAssociation().GetStatus().GetHardTime(), now)
		}},
		{"POLICY", false, text((*operatorv1.SecurityAssociationStatus).GetPolicy)},
		{"AGE", true, ageCell},
		{"ID", true, text((*operatorv1.SecurityAssociationStatus).GetId)},
		{"NAME", true, nameCell},
	}
}

func phaseCell(s *operatorv1.SecurityAssociationStatus) Cell {
	c := Cell{Text: s.GetPhase()}
	switch s.GetPhase() {
	case PhaseEstablished:
		c.Style = Good
	case "draining", "deleting":
		c.Style = Faint
	default:
		c.Style = Warning
	}
	return c
}

// PhaseEstablished is the phase of an association that carries traffic both ways.
const PhaseEstablished = "established"

// rekeyCell is empty for a generation that has had its successor.
func rekeyCell(s *operatorv1.SecurityAssociationStatus, now time.Time) Cell {
	if s.GetRekeyTime() == nil || s.GetPhase() == "draining" || s.GetPhase() == "deleting" {
		return Cell{}
	}
	if left := s.GetRekeyTime().AsTime().Sub(now); left > 0 {
		return Cell{Text: Age(left)}
	}
	return Cell{"now", Warning}
}

func eventColumns() []column {
	status := func(r *operatorv1.Resource) *operatorv1.EventStatus { return r.GetEvent().GetStatus() }
	return []column{
		{"TIME", false, func(r *operatorv1.Resource, now time.Time) Cell {
			if status(r).GetTime() == nil {
				return Cell{}
			}
			return Cell{Text: status(r).GetTime().AsTime().In(now.Location()).Format(time.DateTime)}
		}},
		{"TYPE", false, func(r *operatorv1.Resource, _ time.Time) Cell {
			if status(r).GetWarning() {
				return Cell{"Warning", Warning}
			}
			return Cell{Text: "Normal"}
		}},
		{"REASON", false, func(r *operatorv1.Resource, _ time.Time) Cell { return Cell{Text: status(r).GetReason()} }},
		{"ABOUT", false, func(r *operatorv1.Resource, _ time.Time) Cell { return Cell{Text: about(status(r))} }},
		{"MESSAGE", false, func(r *operatorv1.Resource, _ time.Time) Cell { return Cell{Text: status(r).GetMessage()} }},
		{"NAME", true, nameCell},
	}
}

func about(s *operatorv1.EventStatus) string {
	kind := strings.ToLower(s.GetAboutKind())
	if k, ok := resource.Lookup(s.GetAboutKind()); ok {
		kind = k.Singular
	}
	if kind == "" {
		return s.GetAboutName()
	}
	return kind + "/" + s.GetAboutName()
}
