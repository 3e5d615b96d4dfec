//go:build linux

package contender

import (
	"bufio"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"sallyport.dev/sallyport/deploy/bench/bed"
)

// WireGuard is wireguard-go, set up by its userspace API: https://www.wireguard.com/xplatform/.
type WireGuard struct{ Binary string }

// Name implements Contender.
func (WireGuard) Name() string { return "wireguard-go" }

const (
	wireguardPort = 51820
	// wireguardOverhead is what wg-quick leaves for the tunnel: outer IPv6 header, UDP, and 32 bytes.
	wireguardOverhead = 80
)

// Start implements Contender.
func (w WireGuard) Start(ctx context.Context, b *bed.Bed, setup Setup) ([]*bed.Process, error) {
	var keys [2]*ecdh.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
	}
	var daemons []*bed.Process
	for end := range b.Ends {
		daemon, err := w.end(ctx, b, end, configuration(end, setup, keys))
		if err != nil {
			return nil, err
		}
		daemons = append(daemons, daemon)
	}
	return daemons, nil
}

// end starts and sets up the daemon of one end.
func (w WireGuard) end(ctx context.Context, b *bed.Bed, end int, configuration string) (*bed.Process, error) {
	// The socket is named after the device, in one folder for all namespaces; a device has 15 characters.
	name := fmt.Sprintf("wg%d-%d%c", os.Getpid(), b.Number, 'a'+end)
	daemon, err := b.Start(b.Ends[end], nil, w.Binary, "--foreground", name)
	if err != nil {
		return nil, err
	}
	socket := filepath.Join("/var/run/wireguard", name+".sock")
	if err := daemon.Until(ctx, socket, func() bool { _, err := os.Stat(socket); return err == nil }); err != nil {
		return nil, err
	}
	if err := configure(ctx, socket, configuration); err != nil {
		return nil, err
	}
	if err := b.Ends[end].IP(ctx, "link", "set", name, "mtu", fmt.Sprint(b.MTU-wireguardOverhead), "up"); err != nil {
		return nil, err
	}
	for _, f := range []bed.Family{4, 6} {
		if err := b.Route(ctx, end, f, "dev", name); err != nil {
			return nil, err
		}
	}
	return daemon, nil
}

// configuration is an end's, in lines of the userspace API.
func configuration(end int, setup Setup, keys [2]*ecdh.PrivateKey) string {
	var b strings.Builder
	fmt.Fprintf(&b, "set=1\nprivate_key=%x\nlisten_port=%d\npublic_key=%x\nendpoint=%v\n", keys[end].Bytes(), wireguardPort,
		keys[1-end].PublicKey().Bytes(), netip.AddrPortFrom(bed.Outer(1-end, setup.Outer), wireguardPort))
	for _, f := range []bed.Family{4, 6} {
		fmt.Fprintf(&b, "allowed_ip=%v\n", bed.InnerNet(1-end, f))
	}
	b.WriteString("\n")
	return b.String()
}

// configure sends a configuration and reads the answer.
func configure(ctx context.Context, socket, configuration string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("bench: wireguard-go: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(configuration)); err != nil {
		return fmt.Errorf("bench: wireguard-go: %w", err)
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("bench: wireguard-go: %w", err)
	}
	if strings.TrimSpace(answer) != "errno=0" {
		return fmt.Errorf("bench: wireguard-go refuses its configuration: %s", strings.TrimSpace(answer))
	}
	return nil
}
