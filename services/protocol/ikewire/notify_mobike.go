package ikewire

import (
	"fmt"
	"net/netip"
)

// AdditionalAddress returns the data of ADDITIONAL_IP4_ADDRESS or ADDITIONAL_IP6_ADDRESS,
// RFC 4555 section 4.2.2.
func (n Notify) AdditionalAddress() (netip.Addr, error) {
	if err := n.want(AdditionalIP4Address, AdditionalIP6Address); err != nil {
		return netip.Addr{}, err
	}
	a, ok := netip.AddrFromSlice(n.Data)
	if !ok || a.Is4() != (n.Type == AdditionalIP4Address) {
		return netip.Addr{}, n.badLength()
	}
	return a, nil
}

// NewAdditionalAddress returns the notify of the address's family.
func NewAdditionalAddress(a netip.Addr) Notify {
	if a = a.Unmap(); a.Is4() {
		return Notify{Type: AdditionalIP4Address, Data: a.AsSlice()}
	}
	return Notify{Type: AdditionalIP6Address, Data: a.AsSlice()}
}

// AdditionalAddresses returns all additional addresses among the payloads of a message.
// told is false when the message does not speak of them; NO_ADDITIONAL_ADDRESSES gives
// an empty list that is told (RFC 4555 section 3.6). Errors: ErrLength, ErrTooMany.
func AdditionalAddresses(ps []Payload) (addrs []netip.Addr, told bool, err error) {
	for _, n := range All[Notify](ps) {
		switch n.Type {
		case NoAdditionalAddresses:
			told = true
		case AdditionalIP4Address, AdditionalIP6Address:
			a, err := n.AdditionalAddress()
			if err != nil {
				return nil, false, err
			}
			if len(addrs) == MaxNotifyItems {
				return nil, false, fmt.Errorf("%w additional addresses", ErrTooMany)
			}
			addrs, told = append(addrs, a), true
		}
	}
	return addrs, told, nil
}
