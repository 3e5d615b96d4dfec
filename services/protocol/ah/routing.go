package ah

// Types of routing header that can be predicted.
const (
	routeType0 = 0 // RFC 2460 section 4.4; RFC 5095 forbids its use, not that it be authenticated
	routeType2 = 2 // RFC 6275 section 6.4
)

// predictRouting turns a routing header into what it is at the last destination, and dst with
// it: each hop exchanges the destination and the next address (RFC 4302 appendix A2). Only a
// sender has anything to predict: a datagram that is received with segments left is not where
// it should be, and is refused. With none left the header is taken as it stands whatever its
// type, as Linux does; segments left of other types, such as segment routing (type 4), have no
// rule for AH. Errors: ErrRouting.
func predictRouting(header, dst []byte, sending bool) error {
	left := int(header[3])
	if left == 0 {
		return nil
	}
	if !sending {
		return ErrRouting
	}
	addresses := header[8:]
	n := len(addresses) / 16
	whole := len(addresses)%16 == 0
	switch header[2] {
	case routeType0:
		if !whole || left > n {
			return ErrRouting
		}
	case routeType2:
		if !whole || n != 1 || left != 1 {
			return ErrRouting
		}
	default:
		return ErrRouting
	}
	for i := n - left; i < n; i++ {
		swap(dst, addresses[i*16:][:16])
	}
	header[3] = 0
	return nil
}

// swap exchanges two addresses.
func swap(a, b []byte) {
	c := [16]byte(a)
	copy(a, b)
	copy(b, c[:])
}
