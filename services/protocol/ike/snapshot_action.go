package ike

import (
	"encoding/json"
	"fmt"
)

// encodedAction is an action by the name of its type. Its secrets, which redact themselves, are beside it.
type encodedAction struct {
	Kind    string
	Data    json.RawMessage
	Secrets []key
}

// actionCodec turns one type of action into a pointer, for its encoding, and back.
type actionCodec struct {
	kind    string
	pointer func(Action) any // nil: not of this type
	blank   func() (pointer any, value func() Action)
}

func codecOf[A Action](kind string) actionCodec {
	return actionCodec{
		kind: kind,
		pointer: func(a Action) any {
			if own, ok := a.(A); ok {
				return &own
			}
			return nil
		},
		blank: func() (any, func() Action) {
			p := new(A)
			return p, func() Action { return *p }
		},
	}
}

func actionCodecs() []actionCodec {
	return []actionCodec{
		codecOf[Persist]("Persist"), codecOf[Send]("Send"), codecOf[InstallInbound]("InstallInbound"),
		codecOf[InstallOutbound]("InstallOutbound"), codecOf[RemoveChild]("RemoveChild"),
		codecOf[MoveChildren]("MoveChildren"), codecOf[VerifyPeer]("VerifyPeer"), codecOf[SignAUTH]("SignAUTH"),
		codecOf[FindPPK]("FindPPK"), codecOf[AssignAddresses]("AssignAddresses"), codecOf[Established]("Established"),
		codecOf[Closed]("Closed"), codecOf[Reauthenticate]("Reauthenticate"), codecOf[Redirected]("Redirected"),
		codecOf[Note]("Note"),
	}
}

// secretsOf are the secrets of an action.
func secretsOf(pointer any) []*Secret {
	switch a := pointer.(type) {
	case *InstallInbound:
		return []*Secret{&a.Keymat}
	case *InstallOutbound:
		return []*Secret{&a.Keymat}
	case *VerifyPeer:
		return []*Secret{&a.SignedOctets, &a.NullKey}
	case *SignAUTH:
		return []*Secret{&a.SignedOctets, &a.WithoutPPK, &a.NullKey}
	}
	return nil
}

func encodeAction(a Action) encodedAction {
	for _, c := range actionCodecs() {
		p := c.pointer(a)
		if p == nil {
			continue
		}
		e := encodedAction{Kind: c.kind}
		for _, s := range secretsOf(p) {
			e.Secrets = append(e.Secrets, key(*s))
		}
		data, err := json.Marshal(p)
		if err != nil {
			panic(fmt.Sprintf("ike: %s: %v", c.kind, err)) // every field has an encoding
		}
		e.Data = data
		return e
	}
	panic(fmt.Sprintf("ike: no encoding for %T", a))
}

func decodeActions(all []encodedAction) ([]Action, error) {
	var actions []Action
	for _, e := range all {
		a, err := e.decode()
		if err != nil {
			return nil, fmt.Errorf("%w: action %q: %w", ErrSnapshot, e.Kind, err)
		}
		actions = append(actions, a)
	}
	return actions, nil
}

func (e encodedAction) decode() (Action, error) {
	for _, c := range actionCodecs() {
		if c.kind != e.Kind {
			continue
		}
		p, value := c.blank()
		if err := json.Unmarshal(e.Data, p); err != nil {
			return nil, err
		}
		secrets := secretsOf(p)
		if len(secrets) != len(e.Secrets) {
			return nil, fmt.Errorf("%d secrets, want %d", len(e.Secrets), len(secrets))
		}
		for i, s := range secrets {
			*s = Secret(e.Secrets[i])
		}
		return value(), nil
	}
	return nil, fmt.Errorf("unknown kind")
}
