//go:build linux

package contender

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"sallyport.dev/sallyport/deploy/bench/bed"
	"sallyport.dev/sallyport/services/protocol/transform"
)

// Sallyport is our agent: two hosts of a fleet, whose pair is ESP in UDP in tunnel mode over IPv4, or, for any other
// set-up, keying mode manual.
type Sallyport struct{ Binaries }

// Binaries are our programs.
type Binaries struct{ Agent, Controller, CLI string }

const (
	ordinaryMTU = 1500
	// sallyportOverhead is what ESP in UDP over IPv6 adds at most, with the longest padding and ICV, rounded up.
	sallyportOverhead = 100
)

// Name implements Contender.
func (Sallyport) Name() string { return "sallyport" }

// Start implements Contender.
func (s Sallyport) Start(ctx context.Context, b *bed.Bed, setup Setup) ([]*bed.Process, error) {
	if setup.fleet() {
		return s.startFleet(ctx, b, setup)
	}
	length, err := keyLength(setup)
	if err != nil {
		return nil, err
	}
	var keys [2][]byte
	for i := range keys {
		keys[i] = make([]byte, length)
		_, _ = rand.Read(keys[i]) // never fails
	}
	var agents []*bed.Process
	for end := range b.Ends {
		agent, err := s.end(ctx, b, end, manual(end, setup, keys))
		if err != nil {
			return nil, err
		}
		agents = append(agents, agent)
	}
	return agents, nil
}

// end starts the agent of one end.
func (s Sallyport) end(ctx context.Context, b *bed.Bed, end int, file string) (*bed.Process, error) {
	folder, err := b.FolderOf(end)
	if err != nil {
		return nil, err
	}
	path, state := filepath.Join(folder, "manual.yaml"), filepath.Join(folder, "state")
	if err := errors.Join(os.WriteFile(path, []byte(file), 0o600), os.Mkdir(state, 0o700)); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	for _, f := range []bed.Family{4, 6} {
		// The policy, not this route, leads the packets into the tunnel; without one they would not set out at all.
		if err := b.Route(ctx, end, f, "via", bed.Outer(1-end, f).String()); err != nil {
			return nil, err
		}
	}
	argv := []string{s.Agent, "run", "--manual", path, "--state-dir", state, "--run-dir", filepath.Join(folder, "run")}
	agent, err := b.Start(b.Ends[end], nil, append(argv, mtuFlags(b)...)...)
	if err != nil {
		return nil, err
	}
	return agent, agent.Until(ctx, "sallyport-agent runs", func() bool { return strings.Contains(agent.Said(), "sallyport-agent runs") })
}

// mtuFlags make an agent take packets that are larger than an ordinary link's, which it does not do by itself.
func mtuFlags(b *bed.Bed) []string {
	if b.MTU <= ordinaryMTU {
		return nil
	}
	return []string{"--mtu", fmt.Sprint(b.MTU - sallyportOverhead)}
}

// keyLength is the length of one key of the manual file, bytes: encryption key, salt, integrity key.
func keyLength(setup Setup) (int, error) {
	if setup.Protocol == "ah" {
		integrity, err := transform.IntegrityByName(setup.Proposal)
		if err != nil {
			return 0, fmt.Errorf("bench: %w", err)
		}
		return integrity.KeymatLen(), nil
	}
	suite, err := transform.ParseInsecureSuite(setup.Proposal)
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	return suite.KeymatLen(), nil
}

// firstSPI is the SPI of the SA to end 0; the one to end 1 has the next.
const firstSPI = 0x1000

// manual is an end's file. The keys are those of the SAs to end 0 and to end 1.
func manual(end int, setup Setup, keys [2][]byte) string {
	local, remote := selectors(end, setup), selectors(1-end, setup)
	outer := bed.Outer(1-end, setup.Outer).String()
	if setup.Encapsulation == "udp" {
		outer = netip.AddrPortFrom(bed.Outer(1-end, setup.Outer), 4500).String()
	}
	sa := func(to int) string { return fmt.Sprintf("{spi: %d, key: \"0x%x\"}", firstSPI+to, keys[to]) }
	return fmt.Sprintf(`insecure: true
default: bypass
policies:
  - name: bench
    action: protect
    local: [%q]
    remote: [%q]
    protocol: %s
    mode: %s
    encapsulation: %s
    proposal: %s
    local-address: %q
    remote-address: %q
    in: %s
    out: %s
`, local, remote, setup.Protocol, setup.Mode, setup.Encapsulation, setup.Proposal,
		bed.Outer(end, setup.Outer).String(), outer, sa(end), sa(1-end))
}

// selectors are what is protected at an end: the inner network, in transport mode the end itself.
func selectors(end int, setup Setup) string {
	if setup.Mode == "transport" {
		return bed.Outer(end, setup.Outer).String()
	}
	return bed.InnerNet(end, setup.Inner).String()
}
