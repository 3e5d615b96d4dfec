package operator

import (
	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/services/store"
)

const (
	kindHost   = operatorv1.Kind_KIND_HOST
	kindPolicy = operatorv1.Kind_KIND_POLICY
	kindToken  = operatorv1.Kind_KIND_JOIN_TOKEN
	kindSA     = operatorv1.Kind_KIND_SECURITY_ASSOCIATION
	kindEvent  = operatorv1.Kind_KIND_EVENT
	kindManual = operatorv1.Kind_KIND_MANUAL_PEER

	kindPeer       = operatorv1.Kind_KIND_PEER
	kindCredential = operatorv1.Kind_KIND_CREDENTIAL
	kindIKESA      = operatorv1.Kind_KIND_IKE_SECURITY_ASSOCIATION
)

// kindOf is the kind of a resource, and its metadata; never nil for a resource that has a kind.
func kindOf(r *operatorv1.Resource) (operatorv1.Kind, *operatorv1.Metadata) {
	switch k := r.GetKind().(type) {
	case *operatorv1.Resource_Host:
		return kindHost, k.Host.GetMetadata()
	case *operatorv1.Resource_Policy:
		return kindPolicy, k.Policy.GetMetadata()
	case *operatorv1.Resource_JoinToken:
		return kindToken, k.JoinToken.GetMetadata()
	case *operatorv1.Resource_SecurityAssociation:
		return kindSA, k.SecurityAssociation.GetMetadata()
	case *operatorv1.Resource_Event:
		return kindEvent, k.Event.GetMetadata()
	case *operatorv1.Resource_ManualPeer:
		return kindManual, k.ManualPeer.GetMetadata()
	case *operatorv1.Resource_Peer:
		return kindPeer, k.Peer.GetMetadata()
	case *operatorv1.Resource_Credential:
		return kindCredential, k.Credential.GetMetadata()
	case *operatorv1.Resource_IkeSecurityAssociation:
		return kindIKESA, k.IkeSecurityAssociation.GetMetadata()
	}
	return operatorv1.Kind_KIND_UNSPECIFIED, nil
}

// kindName is the kind as people write it.
func kindName(k operatorv1.Kind) string {
	switch k {
	case kindHost:
		return "Host"
	case kindPolicy:
		return "Policy"
	case kindToken:
		return "JoinToken"
	case kindSA:
		return "SecurityAssociation"
	case kindEvent:
		return "Event"
	case kindManual:
		return "ManualPeer"
	case kindPeer:
		return "Peer"
	case kindCredential:
		return "Credential"
	case kindIKESA:
		return "IKESecurityAssociation"
	}
	return "unknown kind"
}

// fieldOf is the name of the kind's field in Resource.
func fieldOf(k operatorv1.Kind) string {
	switch k {
	case kindHost:
		return "host"
	case kindPolicy:
		return "policy"
	case kindToken:
		return "join_token"
	case kindSA:
		return "security_association"
	case kindManual:
		return "manual_peer"
	case kindPeer:
		return "peer"
	case kindCredential:
		return "credential"
	case kindIKESA:
		return "ike_security_association"
	}
	return "event"
}

// storeKind is the kind as it stands in keys; false for a kind that has no spec.
func storeKind(k operatorv1.Kind) (store.Kind, bool) {
	switch k {
	case kindHost:
		return store.KindHost, true
	case kindPolicy:
		return store.KindPolicy, true
	case kindToken:
		return store.KindJoinToken, true
	case kindManual:
		return store.KindManualPeer, true
	case kindPeer:
		return store.KindPeer, true
	case kindCredential:
		return store.KindCredential, true
	}
	return "", false
}

// keyPrefix is where the specs of a kind lie, or for the read-only kinds what they are made of.
func keyPrefix(k operatorv1.Kind) string {
	switch k {
	case kindSA:
		return store.SAPhasePrefix
	case kindEvent:
		return store.EventPrefix
	case kindIKESA:
		return store.IKEStatePrefix
	}
	sk, _ := storeKind(k)
	return store.SpecPrefix + string(sk) + "/"
}

// Resources of each kind.
func ofHost(h *operatorv1.Host) *operatorv1.Resource {
	return &operatorv1.Resource{Kind: &operatorv1.Resource_Host{Host: h}}
}

func ofPolicy(p *operatorv1.Policy) *operatorv1.Resource {
	return &operatorv1.Resource{Kind: &operatorv1.Resource_Policy{Policy: p}}
}

func ofToken(t *operatorv1.JoinToken) *operatorv1.Resource {
	return &operatorv1.Resource{Kind: &operatorv1.Resource_JoinToken{JoinToken: t}}
}

func ofManual(p *operatorv1.ManualPeer) *operatorv1.Resource {
	return &operatorv1.Resource{Kind: &operatorv1.Resource_ManualPeer{ManualPeer: p}}
}

func ofPeer(p *operatorv1.Peer) *operatorv1.Resource {
	return &operatorv1.Resource{Kind: &operatorv1.Resource_Peer{Peer: p}}
}

func ofCredential(c *operatorv1.Credential) *operatorv1.Resource {
	return &operatorv1.Resource{Kind: &operatorv1.Resource_Credential{Credential: c}}
}

func ofIKESA(a *operatorv1.IKESecurityAssociation) *operatorv1.Resource {
	return &operatorv1.Resource{Kind: &operatorv1.Resource_IkeSecurityAssociation{IkeSecurityAssociation: a}}
}

func ofSA(a *operatorv1.SecurityAssociation) *operatorv1.Resource {
	return &operatorv1.Resource{Kind: &operatorv1.Resource_SecurityAssociation{SecurityAssociation: a}}
}

func ofEvent(e *operatorv1.Event) *operatorv1.Resource {
	return &operatorv1.Resource{Kind: &operatorv1.Resource_Event{Event: e}}
}
