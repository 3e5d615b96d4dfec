// Package offload turns what a TUN device with segmentation offload gives into IP packets, and IP
// packets into what such a device takes. It is pure: no I/O, no allocation per packet, no copy of a
// payload. One goroutine at a time uses a Splitter or a Coalescer.
//
// Before each packet stands struct virtio_net_hdr of 10 bytes, in the machine's byte order (virtio 1.2
// section 5.1.6; a TUN opened with IFF_VNET_HDR):
//
//	0: flags │ gso_type    2: hdr_len    4: gso_size    6: csum_start    8: csum_offset
//
// A packet with a gso_type is a super-packet: headers once, then gso_size bytes of payload for each
// segment but the last, which may be shorter. Linux's rules for the segments (tcp_gso_segment,
// __udp_gso_segment, inet_gso_segment) are what both directions follow:
//
//   - the IPv4 ID counts up by one from segment to segment, the TCP sequence number by the payload;
//   - FIN and PSH stay on the last segment only, CWR on the first only;
//   - everything else in the headers is the same in all segments.
package offload
