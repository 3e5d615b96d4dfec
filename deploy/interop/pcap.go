//go:build linux

package interop

import (
	"encoding/binary"
	"io"
	"time"
)

// pcap writes frames in libpcap's file format, little-endian: a header of 24 bytes, then per frame seconds,
// microseconds, the length twice, and the frame (draft-ietf-opsawg-pcap).
type pcap struct {
	out io.Writer
	err error // the first
}

const (
	pcapMagic    = 0xa1b2c3d4
	pcapEthernet = 1
	pcapSnapshot = 1 << 16
)

func newPcap(out io.Writer) *pcap {
	p := &pcap{out: out}
	head := binary.LittleEndian.AppendUint32(nil, pcapMagic)
	head = binary.LittleEndian.AppendUint32(head, 2|4<<16) // version 2.4
	head = append(head, make([]byte, 8)...)                // time zone, accuracy
	head = binary.LittleEndian.AppendUint32(head, pcapSnapshot)
	p.write(binary.LittleEndian.AppendUint32(head, pcapEthernet))
	return p
}

func (p *pcap) add(frame []byte, at time.Time) {
	head := binary.LittleEndian.AppendUint32(nil, uint32(at.Unix()))
	head = binary.LittleEndian.AppendUint32(head, uint32(at.Nanosecond()/1000))
	head = binary.LittleEndian.AppendUint32(head, uint32(len(frame)))
	p.write(binary.LittleEndian.AppendUint32(head, uint32(len(frame))))
	p.write(frame)
}

func (p *pcap) write(b []byte) {
	if p.err == nil {
		_, p.err = p.out.Write(b)
	}
}
