package keying

import (
	"fmt"
	"strings"

	"sallyport.dev/sallyport/services/protocol/ike"
)

// line says in words what a note is about; "" for what nobody needs to know.
func line(n ike.Note) string {
	var b strings.Builder
	b.WriteString(string(n.Event))
	if n.Child != "" {
		fmt.Fprintf(&b, " child %s", n.Child)
	}
	if n.Reason != ike.NoReason {
		fmt.Fprintf(&b, ": %s", n.Reason)
	}
	if n.Detail != "" {
		fmt.Fprintf(&b, " (%s)", n.Detail)
	}
	if len(n.Offered) > 0 {
		fmt.Fprintf(&b, "; offered: %s", strings.Join(n.Offered, " | "))
	}
	if len(n.Chosen) > 0 {
		fmt.Fprintf(&b, "; chosen: %s", strings.Join(n.Chosen, " | "))
	}
	return b.String()
}

// describe is a reason with its detail.
func describe(r ike.Reason, detail string) string {
	if detail == "" {
		return string(r)
	}
	return fmt.Sprintf("%s (%s)", r, detail)
}

// advice says what to change, and on which side, so that the next try succeeds.
func advice(n ike.Note) string {
	// What the peer refuses has its reason there; what we refuse has it in our spec.
	peerRefused := n.Event == ike.Failed
	switch n.Reason {
	case ike.NoProposalChosen:
		if n.Child != "" {
			return "give the Peer's child (spec.children.proposals) an algorithm of each kind that the other side has (esp_proposals), or the other way round; look at key exchanges in rekeying too"
		}
		return "give the Peer (spec.proposals) an algorithm of each kind that the other side has (proposals, ike=), or the other way round"
	case ike.InvalidKE:
		return "the other side wants another key exchange first: it is tried; put it first in spec.proposals to save a round trip"
	case ike.AuthenticationFailed:
		if peerRefused {
			return "the other side does not accept our identity or its proof: compare the secret there with the Credential of spec.local, and the identity it expects with spec.local.id; its own log says which"
		}
		if n.Detail != "" {
			return "" // whoever has refused it has said what to do
		}
		return "the other side's identity or proof is not what spec.remote wants: compare its identity (local id) with spec.remote.id, and its secret or certificate with the Credential of spec.remote"
	case ike.TSUnacceptable:
		if peerRefused {
			return "the other side allows none of the traffic: its remote selectors must contain spec.children.local, and its local ones spec.children.remote"
		}
		return "the traffic that the other side asks for is in no child of the Peer: spec.children.local must contain its remote selectors, and spec.children.remote its local ones"
	case ike.SinglePairRequired:
		return "the other side makes child SAs for single pairs of addresses only: let traffic ask for them (start: trap)"
	case ike.PeerDead, ike.HalfOpenTimeout:
		return "nothing has come back: see that the other side runs, that UDP 500 and 4500 are open both ways to the host, and that its remote address is the host's"
	case ike.NoAdditionalSAs:
		return "the other side makes one child SA for an IKE SA: make a Peer for each child"
	case ike.AddressFailure:
		return "an address of the other side's pool was wanted, and it has none"
	case ike.PPKRequired:
		return "one side demands a post-quantum pre-shared key that the other has not"
	case ike.TemporaryFailure:
		return "the other side was busy with another exchange: it is tried again"
	case ike.CriticalPayload, ike.Malformed:
		return "the other side's message cannot be understood: if it comes again, record it with sallyport-agent capture and report it"
	}
	return ""
}
