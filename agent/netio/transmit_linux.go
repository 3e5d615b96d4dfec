package netio

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"

	"sallyport.dev/sallyport/agent/datagram"
)

// unchangedRetries is how often a message that the kernel refuses is tried again as it is.
const unchangedRetries = 2

// transmit sends the prepared messages from first to before last, in order, until one is refused; it returns how many
// left, and why that one did not. It is tried again as it is first, since the error may be that of an ICMP message
// about an earlier packet, which anybody can forge; then once more after relax.
func transmit(d *descriptor, m *mmsg, first, last int, relax func(i int)) (sent int, err error) {
	for i, retries := first, 0; i < last; {
		k, err := m.send(d, i, last)
		switch {
		case k > 0:
			i, retries = i+k, 0
		case retries > unchangedRetries || errors.Is(err, net.ErrClosed):
			return i - first, err
		default:
			if retries++; retries > unchangedRetries {
				relax(i)
			}
		}
	}
	return last - first, nil
}

// reason is what Packet.Err says of an error.
func reason(err error) error {
	if errors.Is(err, unix.EMSGSIZE) {
		return datagram.ErrTooBig
	}
	return err
}
