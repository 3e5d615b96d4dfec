package render

import (
	"fmt"
	"strings"
	"time"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/resource"
)

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
