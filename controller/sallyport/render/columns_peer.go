package render

import (
	"fmt"
	"strings"
	"time"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

// cellOf makes a column's function of one that reads a part of the resource.
func cellOf[T any](part func(*operatorv1.Resource) T, text func(T) string) func(*operatorv1.Resource, time.Time) Cell {
	return func(r *operatorv1.Resource, _ time.Time) Cell { return Cell{Text: text(part(r))} }
}

func peerColumns() []column {
	spec := func(of func(*operatorv1.PeerSpec) string) func(*operatorv1.Resource, time.Time) Cell {
		return cellOf(func(r *operatorv1.Resource) *operatorv1.PeerSpec { return r.GetPeer().GetSpec() }, of)
	}
	status := func(of func(*operatorv1.PeerStatus) string) func(*operatorv1.Resource, time.Time) Cell {
		return cellOf(func(r *operatorv1.Resource) *operatorv1.PeerStatus { return r.GetPeer().GetStatus() }, of)
	}
	return []column{
		{"NAME", false, nameCell},
		{"HOSTS", false, spec(func(s *operatorv1.PeerSpec) string { return strings.Join(s.GetHosts(), ",") })},
		{"REMOTE", false, spec(func(s *operatorv1.PeerSpec) string { return strings.Join(s.GetRemoteAddresses(), ",") })},
		{"AUTH", false, spec(func(s *operatorv1.PeerSpec) string {
			return s.GetLocal().GetMethod() + "/" + s.GetRemote().GetMethod()
		})},
		{"IKE-SAS", false, status(func(s *operatorv1.PeerStatus) string { return fmt.Sprint(s.GetIkeSas()) })},
		{"UP", false, func(r *operatorv1.Resource, _ time.Time) Cell { return childrenCell(r.GetPeer().GetStatus()) }},
		{"AGE", false, ageCell},
		{"LAST", false, status((*operatorv1.PeerStatus).GetExchange)},
		{"AT", true, status((*operatorv1.PeerStatus).GetRemoteAddress)},
		{"START", true, spec((*operatorv1.PeerSpec).GetStart)},
		{"LABELS", true, labelsCell},
		{"CONDITIONS", true, func(r *operatorv1.Resource, _ time.Time) Cell {
			return conditionsCell(r.GetPeer().GetStatus().GetConditions())
		}},
	}
}

// childrenCell is how many of a peer's children are up.
func childrenCell(s *operatorv1.PeerStatus) Cell {
	c := Cell{Text: fmt.Sprintf("%d/%d", s.GetChildrenUp(), s.GetChildren()), Style: Good}
	switch {
	case s.GetDown():
		c.Text, c.Style = "down", Faint
	case s.GetChildrenUp() == 0:
		c.Style = Bad
	case s.GetChildrenUp() < s.GetChildren():
		c.Style = Warning
	}
	return c
}

func credentialColumns() []column {
	spec := func(of func(*operatorv1.CredentialSpec) string) func(*operatorv1.Resource, time.Time) Cell {
		return cellOf(func(r *operatorv1.Resource) *operatorv1.CredentialSpec { return r.GetCredential().GetSpec() }, of)
	}
	return []column{
		{"NAME", false, nameCell},
		{"TYPE", false, spec((*operatorv1.CredentialSpec).GetType)},
		{"SUBJECT", false, func(r *operatorv1.Resource, _ time.Time) Cell {
			return Cell{Text: strings.Join(r.GetCredential().GetStatus().GetSubjects(), "; ")}
		}},
		{"ENDS-IN", false, func(r *operatorv1.Resource, now time.Time) Cell {
			if r.GetCredential().GetStatus().GetExpireTime() == nil {
				return Cell{}
			}
			return until(r.GetCredential().GetStatus().GetExpireTime(), now)
		}},
		{"PEERS", false, func(r *operatorv1.Resource, _ time.Time) Cell {
			return Cell{Text: strings.Join(r.GetCredential().GetStatus().GetPeers(), ",")}
		}},
		{"AGE", false, ageCell},
		{"FINGERPRINT", true, spec((*operatorv1.CredentialSpec).GetFingerprint)},
		{"LABELS", true, labelsCell},
		{"CONDITIONS", true, func(r *operatorv1.Resource, _ time.Time) Cell {
			return conditionsCell(r.GetCredential().GetStatus().GetConditions())
		}},
	}
}

func ikeSAColumns() []column {
	status := func(of func(*operatorv1.IKESecurityAssociationStatus) string) func(*operatorv1.Resource, time.Time) Cell {
		return cellOf(func(r *operatorv1.Resource) *operatorv1.IKESecurityAssociationStatus {
			return r.GetIkeSecurityAssociation().GetStatus()
		}, of)
	}
	return []column{
		{"PEER", false, status((*operatorv1.IKESecurityAssociationStatus).GetPeer)},
		{"HOST", false, status((*operatorv1.IKESecurityAssociationStatus).GetHost)},
		{"STATE", false, func(r *operatorv1.Resource, _ time.Time) Cell {
			c := Cell{Text: r.GetIkeSecurityAssociation().GetStatus().GetState(), Style: Good}
			if c.Text != PhaseEstablished {
				c.Style = Warning
			}
			return c
		}},
		{"REMOTE", false, status((*operatorv1.IKESecurityAssociationStatus).GetRemoteAddress)},
		{"REMOTE-ID", false, status((*operatorv1.IKESecurityAssociationStatus).GetRemoteId)},
		{"PROPOSAL", false, status((*operatorv1.IKESecurityAssociationStatus).GetProposal)},
		{"CHILDREN", false, status(childNames)},
		{"REKEY-IN", false, func(r *operatorv1.Resource, now time.Time) Cell {
			if r.GetIkeSecurityAssociation().GetStatus().GetRekeyTime() == nil {
				return Cell{}
			}
			return until(r.GetIkeSecurityAssociation().GetStatus().GetRekeyTime(), now)
		}},
		{"AGE", false, ageCell},
		{"ROLE", true, status(func(s *operatorv1.IKESecurityAssociationStatus) string {
			if s.GetInitiator() {
				return "initiator"
			}
			return "responder"
		})},
		{"LOCAL", true, status((*operatorv1.IKESecurityAssociationStatus).GetLocalAddress)},
		{"LOCAL-ID", true, status((*operatorv1.IKESecurityAssociationStatus).GetLocalId)},
		{"SPIS", true, status(func(s *operatorv1.IKESecurityAssociationStatus) string {
			return s.GetInitiatorSpi() + "_i " + s.GetResponderSpi() + "_r"
		})},
		{"CHILD-SAS", true, status(childTexts)},
		{"NAME", true, nameCell},
	}
}

func childNames(s *operatorv1.IKESecurityAssociationStatus) string {
	var names []string
	for _, c := range s.GetChildren() {
		name := c.GetName()
		if c.GetInstalled() != "both" {
			name += " (" + c.GetInstalled() + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, ",")
}

// childTexts is SPIs, cryptography and traffic of each child.
func childTexts(s *operatorv1.IKESecurityAssociationStatus) string {
	var texts []string
	for _, c := range s.GetChildren() {
		carrier := "esp"
		if c.GetUdp() {
			carrier = "esp-in-udp"
		}
		texts = append(texts, fmt.Sprintf("%s: 0x%08x in, 0x%08x out, %s %s, %s, %s - %s", c.GetName(), c.GetInboundSpi(), c.GetOutboundSpi(),
			carrier, c.GetMode(), c.GetProposal(), strings.Join(c.GetLocal(), ","), strings.Join(c.GetRemote(), ",")))
	}
	return strings.Join(texts, "; ")
}
