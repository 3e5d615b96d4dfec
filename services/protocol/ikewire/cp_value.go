package ikewire

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
)

// Addr returns the address of an attribute that holds one: the zero Addr when the value
// is empty. INTERNAL_IP6_ADDRESS has a prefix length too, see Prefix. Errors: ErrValue
// for an attribute of another form, ErrLength.
func (a ConfigAttribute) Addr() (netip.Addr, error) {
	want := 0
	switch a.Type {
	case InternalIP4Address, InternalIP4Netmask, InternalIP4DNS, InternalIP4NBNS, InternalIP4DHCP, PCSCFIP4Address:
		want = 4
	case InternalIP6DNS, InternalIP6DHCP, PCSCFIP6Address:
		want = 16
	case InternalIP6Address:
		p, err := a.Prefix()
		return p.Addr(), err
	default:
		return netip.Addr{}, fmt.Errorf("%w: %s is no address", ErrValue, a.Type)
	}
	if len(a.Value) == 0 {
		return netip.Addr{}, nil
	}
	if len(a.Value) != want {
		return netip.Addr{}, a.badLength()
	}
	addr, _ := netip.AddrFromSlice(a.Value)
	return addr, nil
}

// Prefix returns the value of INTERNAL_IP6_ADDRESS, INTERNAL_IP6_SUBNET,
// INTERNAL_IP6_PREFIX or INTERNAL_IP4_SUBNET, host bits as they are: the zero Prefix when
// the value is empty. Errors: ErrValue for an attribute of another form, a prefix length
// above 128 or a mask with holes, ErrLength.
func (a ConfigAttribute) Prefix() (netip.Prefix, error) {
	want, n := 0, 0
	switch a.Type {
	case InternalIP6Address, InternalIP6Subnet, InternalIP6Prefix:
		want, n = 17, 16
	case InternalIP4Subnet:
		want, n = 8, 4
	default:
		return netip.Prefix{}, fmt.Errorf("%w: %s is no prefix", ErrValue, a.Type)
	}
	if len(a.Value) == 0 {
		return netip.Prefix{}, nil
	}
	if len(a.Value) != want {
		return netip.Prefix{}, a.badLength()
	}
	addr, _ := netip.AddrFromSlice(a.Value[:n])
	length, ok := int(a.Value[n]), true
	if n == 4 {
		length, ok = maskLen(binary.BigEndian.Uint32(a.Value[n:]))
	}
	if !ok || length > addr.BitLen() {
		return netip.Prefix{}, fmt.Errorf("%s: %w: prefix %x", a.Type, ErrValue, a.Value)
	}
	return netip.PrefixFrom(addr, length), nil
}

func maskLen(mask uint32) (int, bool) {
	n := bits.LeadingZeros32(^mask)
	return n, mask<<n == 0
}

// Supported returns the value of SUPPORTED_ATTRIBUTES. Errors: ErrValue for another
// attribute, ErrLength, ErrTooMany.
func (a ConfigAttribute) Supported() ([]ConfigAttributeType, error) {
	switch {
	case a.Type != SupportedAttributes:
		return nil, fmt.Errorf("%w: %s is no list of attributes", ErrValue, a.Type)
	case len(a.Value)%2 != 0:
		return nil, a.badLength()
	case len(a.Value)/2 > MaxConfigAttributes:
		return nil, fmt.Errorf("%s: %w", a.Type, ErrTooMany)
	}
	var types []ConfigAttributeType
	for b := a.Value; len(b) > 0; b = b[2:] {
		types = append(types, ConfigAttributeType(binary.BigEndian.Uint16(b)&^reservedBit))
	}
	return types, nil
}

func (a ConfigAttribute) badLength() error {
	return fmt.Errorf("%s: %w: %d bytes", a.Type, ErrLength, len(a.Value))
}

// NewAddrAttribute returns an attribute that holds an address; for a request without a
// wish, the zero Addr. INTERNAL_IP6_ADDRESS needs NewPrefixAttribute.
func NewAddrAttribute(t ConfigAttributeType, addr netip.Addr) ConfigAttribute {
	return ConfigAttribute{Type: t, Value: addr.AsSlice()}
}

// NewPrefixAttribute returns an attribute that holds a prefix: INTERNAL_IP4_SUBNET with an
// address and a mask, the others with an address and a length. The zero Prefix gives an
// empty value.
func NewPrefixAttribute(t ConfigAttributeType, p netip.Prefix) ConfigAttribute {
	a := ConfigAttribute{Type: t, Value: p.Addr().AsSlice()}
	switch {
	case !p.IsValid():
	case p.Addr().Is4():
		a.Value = binary.BigEndian.AppendUint32(a.Value, ^uint32(0)<<(32-p.Bits()))
	default:
		a.Value = append(a.Value, uint8(p.Bits()))
	}
	return a
}
