package render

import (
	"fmt"
	"strings"
	"time"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

func manualPeerColumns() []column {
	spec := func(of func(*operatorv1.ManualPeerSpec) string) func(*operatorv1.Resource, time.Time) Cell {
		return func(r *operatorv1.Resource, _ time.Time) Cell { return Cell{Text: of(r.GetManualPeer().GetSpec())} }
	}
	spi := func(a *operatorv1.ManualAssociation) string {
		if a == nil {
			return ""
		}
		return fmt.Sprintf("0x%08x", a.GetSpi())
	}
	return []column{
		{"NAME", false, nameCell},
		{"HOST", false, spec((*operatorv1.ManualPeerSpec).GetHost)},
		{"REMOTE", false, spec((*operatorv1.ManualPeerSpec).GetRemoteAddress)},
		{"PROPOSAL", false, spec(manualProposal)},
		{"SPI-IN", false, spec(func(s *operatorv1.ManualPeerSpec) string { return spi(s.GetInbound()) })},
		{"SPI-OUT", false, spec(func(s *operatorv1.ManualPeerSpec) string { return spi(s.GetOutbound()) })},
		{"GEN", false, func(r *operatorv1.Resource, _ time.Time) Cell {
			return Cell{Text: fmt.Sprint(r.GetManualPeer().GetStatus().GetGeneration())}
		}},
		{"INSTALLED", false, func(r *operatorv1.Resource, _ time.Time) Cell {
			if r.GetManualPeer().GetStatus().GetInstalled() {
				return Cell{"yes", Good}
			}
			return Cell{"no", Bad}
		}},
		{"AGE", false, ageCell},
		{"MODE", true, spec((*operatorv1.ManualPeerSpec).GetMode)},
		{"ENCAP", true, spec((*operatorv1.ManualPeerSpec).GetEncapsulation)},
		{"TRAFFIC", true, spec(func(s *operatorv1.ManualPeerSpec) string {
			return strings.Join(s.GetLocal(), ",") + " - " + strings.Join(s.GetRemote(), ",")
		})},
		{"ID", true, func(r *operatorv1.Resource, _ time.Time) Cell {
			return Cell{Text: r.GetManualPeer().GetStatus().GetId()}
		}},
		{"LABELS", true, labelsCell},
		{"CONDITIONS", true, func(r *operatorv1.Resource, _ time.Time) Cell {
			return conditionsCell(r.GetManualPeer().GetStatus().GetConditions())
		}},
	}
}

// manualProposal names protocol, algorithms and sequence numbers, as in esp/aes256-sha256-esn.
func manualProposal(s *operatorv1.ManualPeerSpec) string {
	if s.GetProposal() == "" {
		return ""
	}
	end := "-noesn"
	if s.GetEsn() {
		end = "-esn"
	}
	return s.GetProtocol() + "/" + s.GetProposal() + end
}
