package netio

import "fmt"

// SetMTU changes the size of the largest packet that the TUN takes.
func (n *Network) SetMTU(mtu int) error {
	if mtu < 1280 || mtu > 65535 {
		return fmt.Errorf("netio: MTU %d: want 1280 (IPv6's least) to 65535", mtu)
	}
	link, err := n.handle.LinkByName(n.config.TUNName)
	if err == nil && link.Attrs().MTU != mtu {
		err = n.handle.LinkSetMTU(link, mtu)
	}
	if err != nil {
		return fmt.Errorf("netio: TUN %s: set MTU %d: %w", n.config.TUNName, mtu, err)
	}
	return nil
}
