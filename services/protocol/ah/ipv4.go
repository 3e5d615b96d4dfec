package ah

import "sallyport.dev/sallyport/services/protocol/ipwire"

// IPv4 options that RFC 4302 appendix A1 calls immutable, by their type byte, and the source
// routes. All others are zeroed whole, known or not.
const (
	optEnd              = 0
	optNoOperation      = 1
	optSecurity         = 0x82 // RFC 1108
	optLooseRoute       = 0x83 // RFC 791
	optExtendedSecurity = 0x85 // RFC 1108
	optCommercial       = 0x86 // CIPSO
	optStrictRoute      = 0x89 // RFC 791
	optRouterAlert      = 0x94 // RFC 2113
	optMultiDestination = 0x95 // RFC 1770
)

// predictIPv4 turns a header, options included, into what the ICV is computed over, RFC 4302
// section 3.3.3.1.1. A sender puts the last destination of a source route into the header; at
// the receiver it is there, and must not be taken from the option, which nothing protects.
// Errors: ErrHeaders, ErrRouting.
func predictIPv4(h []byte, sending bool) error {
	h[1] = 0        // TOS
	clear(h[6:9])   // flags, fragment offset, TTL
	clear(h[10:12]) // checksum
	for opts := h[ipwire.IPv4MinHeaderLen:]; len(opts) > 0 && opts[0] != optEnd; {
		if opts[0] == optNoOperation {
			opts = opts[1:]
			continue
		}
		if len(opts) < 2 || opts[1] < 2 || int(opts[1]) > len(opts) {
			return ErrHeaders
		}
		option := opts[:opts[1]]
		switch option[0] {
		case optSecurity, optExtendedSecurity, optCommercial, optRouterAlert, optMultiDestination:
		case optLooseRoute, optStrictRoute:
			if sending {
				if err := putLastHop(h[16:20], option); err != nil {
					return err
				}
			}
			clear(option)
		default:
			clear(option)
		}
		opts = opts[len(option):]
	}
	return nil
}

// putLastHop makes dst the last address of a source route. With no hops to make, which the
// option's pointer says (RFC 791 section 3.1), dst is that address already, and the option has
// where the datagram came through.
func putLastHop(dst, option []byte) error {
	const route = 3 // after type, length and pointer, which counts from 1
	if len(option) < route || option[2] <= route || option[2]%4 != 0 || (len(option)-route)%4 != 0 {
		return ErrRouting
	}
	if int(option[2]) <= len(option) {
		copy(dst, option[len(option)-4:])
	}
	return nil
}
