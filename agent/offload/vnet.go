package offload

import (
	"encoding/binary"
	"errors"
)

// HeaderLen is the length of struct virtio_net_hdr as a TUN has it, in bytes.
const HeaderLen = 10

// ErrHeader: the virtio header asks for what its packet does not bear, or the packet for what cannot be
// split. Such a packet is dropped.
var ErrHeader = errors.New("offload: virtio header does not fit its packet")

// Values of the header's first two bytes, linux/virtio_net.h.
const (
	flagNeedsChecksum = 1 // the checksum field holds the pseudo-header's sum; the rest is left to do

	gsoNone  = 0
	gsoTCPv4 = 1
	gsoTCPv6 = 4
	gsoUDP   = 5    // VIRTIO_NET_HDR_GSO_UDP_L4
	gsoECN   = 0x80 // a bit beside the type: the first segment has CWR
)

// vnetHeader is struct virtio_net_hdr. hdr_len is a hint that Linux sets to whatever lies in one piece;
// it is not believed.
type vnetHeader struct {
	flags, gsoType                     uint8
	hdrLen                             uint16
	gsoSize, checksumStart, checksumAt uint16 // the checksum field stands at checksumStart+checksumAt
}

// readHeader reads the header of a b at least HeaderLen long.
func readHeader(b []byte) vnetHeader {
	_ = b[HeaderLen-1]
	return vnetHeader{
		flags:         b[0],
		gsoType:       b[1],
		hdrLen:        binary.NativeEndian.Uint16(b[2:]),
		gsoSize:       binary.NativeEndian.Uint16(b[4:]),
		checksumStart: binary.NativeEndian.Uint16(b[6:]),
		checksumAt:    binary.NativeEndian.Uint16(b[8:]),
	}
}

// put writes the header to a b at least HeaderLen long.
func (h vnetHeader) put(b []byte) {
	_ = b[HeaderLen-1]
	b[0], b[1] = h.flags, h.gsoType
	binary.NativeEndian.PutUint16(b[2:], h.hdrLen)
	binary.NativeEndian.PutUint16(b[4:], h.gsoSize)
	binary.NativeEndian.PutUint16(b[6:], h.checksumStart)
	binary.NativeEndian.PutUint16(b[8:], h.checksumAt)
}
