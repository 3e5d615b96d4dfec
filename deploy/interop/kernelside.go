//go:build linux

package interop

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"sallyport.dev/sallyport/deploy/interop/station"
)

// Side is one end of the cases: what installs their SAs and policies there.
type Side interface {
	// Station is the station there.
	Station() *station.Client
	// Install makes the SAs, the policies and the addresses of these cases.
	Install(ctx context.Context, cases []Keyed) error
	// Traffic is what the SAs there have carried, by SPI.
	Traffic(ctx context.Context) (map[uint32]Traffic, error)
	// Errors are the counters of what went wrong there since Install, by name; zeros are left out.
	Errors(ctx context.Context) (map[string]uint64, error)
	// Clear removes what Install made.
	Clear(ctx context.Context) error
}

// Traffic is what an SA has carried.
type Traffic struct {
	Packets  uint64 // protected or opened
	Sequence uint64 // the last number sent, or the highest received; of a kernel, only with ESN
}

// place is an end's place in the topology.
type place struct {
	end  End
	link string // the device
}

// prepare are the lines of `ip -batch` that make what all cases need: outer addresses, and routes to the other end's
// inner ones. Those go there by the link, so that what no policy takes is seen on it.
func (p place) prepare() string {
	lines := []string{
		fmt.Sprintf("address add %v%s dev %s", outer(IPv4, p.end), outerPrefix4, p.link),
		fmt.Sprintf("address add %v%s dev %s nodad", outer(IPv6, p.end), outerPrefix6, p.link),
		fmt.Sprintf("route add %v/17 via %v", own(20, IPv4, 0, p.end.other()), outer(IPv4, p.end.other())),
		fmt.Sprintf("route add %v/112 via %v", own(20, IPv6, 0, p.end.other()), outer(IPv6, p.end.other())),
	}
	return strings.Join(lines, "\n") + "\n"
}

// addresses are the lines of `ip -batch` that make the cases' own addresses.
func (p place) addresses(cases []Keyed) string {
	var b strings.Builder
	for _, c := range cases {
		device, bits, more := p.link, map[Family]int{IPv4: 16, IPv6: 64}[c.Inner], ""
		if c.Mode == Tunnel {
			device, bits = "lo", map[Family]int{IPv4: 32, IPv6: 128}[c.Inner]
		}
		if c.Inner == IPv6 {
			more = " nodad"
		}
		fmt.Fprintf(&b, "address add %v/%d dev %s%s\n", c.Address(p.end), bits, device, more)
	}
	return b.String()
}

// clear is the script that removes the cases' own addresses.
func (p place) clear() string {
	return fmt.Sprintf(`ip -4 address flush dev lo to 10.20.0.0/16
ip -6 address flush dev lo to fd20::/64
ip -4 address flush dev %[1]s to 10.30.0.0/16
ip -6 address flush dev %[1]s to fd30::/64
`, p.link)
}

// KernelSide is an end whose IPsec is the kernel's.
type KernelSide struct {
	place
	station *station.Client
}

// NewKernelSide prepares an end on a device of the station's.
func NewKernelSide(ctx context.Context, end End, link string, s *station.Client) (*KernelSide, error) {
	k := &KernelSide{place: place{end: end, link: link}, station: s}
	if _, err := s.Run(ctx, "ip -batch -", []byte(k.prepare())); err != nil {
		return nil, err
	}
	if err := s.Decapsulate(ctx, port4500); err != nil {
		return nil, err
	}
	return k, nil
}

// Station implements Side.
func (k *KernelSide) Station() *station.Client { return k.station }

// Install implements Side.
func (k *KernelSide) Install(ctx context.Context, cases []Keyed) error {
	var b strings.Builder
	b.WriteString(k.addresses(cases))
	b.WriteString(neighbours())
	for _, c := range cases {
		b.WriteString(c.xfrm(k.end, true))
	}
	_, err := k.station.Run(ctx, "ip -batch -", []byte(b.String()))
	return err
}

// Clear implements Side.
func (k *KernelSide) Clear(ctx context.Context) error {
	_, err := k.station.Run(ctx, "ip xfrm policy flush\nip xfrm state flush\n"+k.clear(), nil)
	return err
}

// Traffic implements Side.
func (k *KernelSide) Traffic(ctx context.Context) (map[uint32]Traffic, error) {
	out, err := k.station.Run(ctx, "ip -s xfrm state", nil)
	if err != nil {
		return nil, err
	}
	return parseTraffic(out)
}

// parseTraffic reads `ip -s xfrm state`. Of an SA's lines, these matter, in this order:
//
//	proto esp spi 0x51000001(1358954497) …
//	seq-hi 0x1, seq 0x12, oseq-hi 0x0, oseq 0x0        with ESN
//	lifetime current:
//	84(bytes), 1(packets)
func parseTraffic(out string) (map[uint32]Traffic, error) {
	traffic := map[uint32]Traffic{}
	var spi uint32
	current := false // the line before was "lifetime current:"
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		sa := traffic[spi]
		var err error
		switch {
		case strings.HasPrefix(line, "proto "):
			_, after, _ := strings.Cut(line, " spi 0x")
			digits, _, _ := strings.Cut(after, "(")
			var n uint64
			n, err = strconv.ParseUint(digits, 16, 32)
			spi, sa = uint32(n), Traffic{}
		case strings.HasPrefix(line, "seq-hi "):
			var seqHi, seq, oseqHi, oseq uint64
			_, err = fmt.Sscanf(line, "seq-hi 0x%x, seq 0x%x, oseq-hi 0x%x, oseq 0x%x", &seqHi, &seq, &oseqHi, &oseq)
			sa.Sequence = max(seqHi<<32|seq, oseqHi<<32|oseq)
		case current:
			var bytes uint64
			_, err = fmt.Sscanf(line, "%d(bytes), %d(packets)", &bytes, &sa.Packets)
		}
		if err != nil {
			return nil, fmt.Errorf("interop: ip -s xfrm state: %q: %w", line, err)
		}
		current = line == "lifetime current:"
		if spi != 0 {
			traffic[spi] = sa
		}
	}
	return traffic, nil
}

// Errors implements Side: /proc/net/xfrm_stat, which counts from the boot on. A batch with errors leaves them to the
// following ones, so the caller compares.
func (k *KernelSide) Errors(ctx context.Context) (map[string]uint64, error) {
	out, err := k.station.Run(ctx, "cat /proc/net/xfrm_stat", nil)
	if err != nil {
		return nil, err
	}
	errors := map[string]uint64{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			continue
		}
		n, err := strconv.ParseUint(fields[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("interop: /proc/net/xfrm_stat: %q: %w", line, err)
		}
		if n != 0 {
			errors[fields[0]] = n
		}
	}
	return errors, nil
}
