// Package resource knows the kinds of the operator's API: their names on the command line and in
// files, and how to take a Resource apart without a switch per caller.
package resource

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

// Kind is a kind of resource as people write it.
type Kind struct {
	// Enum is the API's number.
	Enum operatorv1.Kind
	// Name is the message's name, as in the kind field of a file: "Host".
	Name string
	// Singular is what stands before the slash in "host/web-1".
	Singular string
	// Plural is what `get` takes: "hosts".
	Plural string
	// Aliases are other accepted spellings.
	Aliases []string
	// Appliable is true for the kinds that Apply accepts; the others are made by a command of their
	// own or by the controller.
	Appliable bool
	// Deletable is true for the kinds that people delete.
	Deletable bool
}

// Kinds returns every kind, in the order of the API.
func Kinds() []Kind {
	return []Kind{
		{Enum: operatorv1.Kind_KIND_HOST, Name: "Host", Singular: "host", Plural: "hosts", Appliable: true, Deletable: true},
		{Enum: operatorv1.Kind_KIND_POLICY, Name: "Policy", Singular: "policy", Plural: "policies", Appliable: true, Deletable: true},
		{
			Enum: operatorv1.Kind_KIND_JOIN_TOKEN, Name: "JoinToken", Singular: "join-token", Plural: "join-tokens",
			Aliases: []string{"jointoken", "jointokens", "token", "tokens"}, Deletable: true,
		},
		{
			Enum: operatorv1.Kind_KIND_SECURITY_ASSOCIATION, Name: "SecurityAssociation", Singular: "sa", Plural: "sas",
			Aliases: []string{"security-association", "security-associations", "securityassociation"},
		},
		{Enum: operatorv1.Kind_KIND_EVENT, Name: "Event", Singular: "event", Plural: "events"},
		{
			Enum: operatorv1.Kind_KIND_MANUAL_PEER, Name: "ManualPeer", Singular: "manual-peer", Plural: "manual-peers",
			Aliases: []string{"manualpeers"}, Appliable: true, Deletable: true,
		},
		{Enum: operatorv1.Kind_KIND_PEER, Name: "Peer", Singular: "peer", Plural: "peers", Appliable: true, Deletable: true},
		{Enum: operatorv1.Kind_KIND_CREDENTIAL, Name: "Credential", Singular: "credential", Plural: "credentials", Appliable: true, Deletable: true},
		{
			Enum: operatorv1.Kind_KIND_IKE_SECURITY_ASSOCIATION, Name: "IKESecurityAssociation", Singular: "ike-sa", Plural: "ike-sas",
			Aliases: []string{"ikesa", "ikesas"},
		},
	}
}

// Lookup finds a kind by any of its names, in any case.
func Lookup(name string) (Kind, bool) {
	name = strings.ToLower(name)
	for _, k := range Kinds() {
		if name == strings.ToLower(k.Name) || name == k.Singular || name == k.Plural {
			return k, true
		}
		for _, a := range k.Aliases {
			if name == a {
				return k, true
			}
		}
	}
	return Kind{}, false
}

// OfEnum finds a kind by the API's number. An unknown number, from a newer controller, gives a kind
// that is named by the number.
func OfEnum(e operatorv1.Kind) Kind {
	for _, k := range Kinds() {
		if k.Enum == e {
			return k
		}
	}
	return Kind{Enum: e, Name: e.String(), Singular: strings.ToLower(e.String()), Plural: strings.ToLower(e.String())}
}

// Of returns the kind of r and false when r holds none that this program knows.
func Of(r *operatorv1.Resource) (Kind, bool) {
	inner, ok := Inner(r)
	if !ok {
		return Kind{}, false
	}
	return Lookup(string(inner.Descriptor().Name()))
}

// Inner returns the message in r's oneof: the Host, the Policy and so on.
func Inner(r *operatorv1.Resource) (protoreflect.Message, bool) {
	m := r.ProtoReflect()
	if !m.IsValid() {
		return nil, false
	}
	fd := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))
	if fd == nil {
		return nil, false
	}
	return m.Get(fd).Message(), true
}

// New makes an empty resource of kind k and returns it with the message inside. A kind that the API
// does not have gives false.
func New(k Kind) (*operatorv1.Resource, protoreflect.Message, bool) {
	r := &operatorv1.Resource{}
	m := r.ProtoReflect()
	fields := m.Descriptor().Oneofs().ByName("kind").Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if string(fd.Message().Name()) == k.Name {
			return r, m.Mutable(fd).Message(), true
		}
	}
	return nil, nil, false
}

// Metadata returns the metadata of r; nil when there is none. The getters of a nil Metadata work.
func Metadata(r *operatorv1.Resource) *operatorv1.Metadata {
	inner, ok := Inner(r)
	if !ok {
		return nil
	}
	fd := inner.Descriptor().Fields().ByName("metadata")
	if fd == nil || !inner.Has(fd) {
		return nil
	}
	md, _ := inner.Get(fd).Message().Interface().(*operatorv1.Metadata)
	return md
}

// Ref names r as "host/web-1".
func Ref(r *operatorv1.Resource) string {
	k, ok := Of(r)
	if !ok {
		return "resource/" + Metadata(r).GetName()
	}
	return k.Singular + "/" + Metadata(r).GetName()
}
