package ikewire

import (
	"fmt"
	"net/netip"

	"golang.org/x/crypto/cryptobyte"
)

// GatewayType is IANA's "IKEv2 Gateway Identity Types", RFC 5685 section 7.2.
type GatewayType uint8

// Gateway identity types.
const (
	GatewayIPv4 GatewayType = 1
	GatewayIPv6 GatewayType = 2
	GatewayFQDN GatewayType = 3
)

// Redirect is the data of REDIRECT and of REDIRECTED_FROM.
type Redirect struct {
	Addr  netip.Addr // RFC 5685 section 7.2: the gateway; not valid when it has a name
	Name  string     // 7.2: the gateway's FQDN, or empty
	Nonce []byte     // 7.2: the initiator's, in REDIRECT of an IKE_SA_INIT response only
}

// Redirect returns the data of REDIRECT or REDIRECTED_FROM. Whether a nonce must be
// there depends on the exchange; REDIRECTED_FROM has none. Errors: ErrTruncated,
// ErrLength, ErrValue.
func (n Notify) Redirect() (Redirect, error) {
	if err := n.want(RedirectTo, RedirectedFrom); err != nil {
		return Redirect{}, err
	}
	var r Redirect
	var kind uint8
	var id cryptobyte.String
	s := cryptobyte.String(n.Data)
	if !s.ReadUint8(&kind) || !s.ReadUint8LengthPrefixed(&id) {
		return Redirect{}, fmt.Errorf("%s: %w", n.Type, ErrTruncated)
	}
	switch t := GatewayType(kind); {
	case t == GatewayIPv4 && len(id) == 4, t == GatewayIPv6 && len(id) == 16:
		r.Addr, _ = netip.AddrFromSlice(id)
	case t == GatewayFQDN && len(id) > 0 && printable(id, 0x7e):
		r.Name = string(id)
	default:
		return Redirect{}, fmt.Errorf("%s: %w: gateway type %d of %d bytes", n.Type, ErrValue, kind, len(id))
	}
	if s.Empty() {
		return r, nil
	}
	if n.Type == RedirectedFrom || len(s) < MinNonce || len(s) > MaxNonce {
		return Redirect{}, fmt.Errorf("%s: %w: nonce of %d bytes", n.Type, ErrLength, len(s))
	}
	r.Nonce = s
	return r, nil
}

// NewRedirect returns a notify of type t, REDIRECT or REDIRECTED_FROM. Errors: ErrLength
// for a gateway with neither address nor name, or with a name longer than 255 bytes.
func NewRedirect(t NotifyType, r Redirect) (Notify, error) {
	var kind GatewayType
	var id []byte
	switch {
	case r.Name != "":
		kind, id = GatewayFQDN, []byte(r.Name)
	case r.Addr.Is4():
		kind, id = GatewayIPv4, r.Addr.AsSlice()
	case r.Addr.Is6():
		kind, id = GatewayIPv6, r.Addr.AsSlice()
	}
	if len(id) == 0 || len(id) > 0xff {
		return Notify{}, fmt.Errorf("%s: %w: gateway of %d bytes", t, ErrLength, len(id))
	}
	data := append([]byte{uint8(kind), uint8(len(id))}, id...)
	return Notify{Type: t, Data: append(data, r.Nonce...)}, nil
}

// checkRedirect accepts REDIRECT_SUPPORTED with or without data: RFC 5685 section 7.1 has
// none, and what some peers put there means nothing.
func (n Notify) checkRedirect() error {
	if n.Type == RedirectSupported {
		return nil
	}
	_, err := n.Redirect()
	return err
}
