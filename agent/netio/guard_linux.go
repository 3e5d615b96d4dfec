package netio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// nftTimeout bounds one run of nft; a large table takes well under a second.
const nftTimeout = 30 * time.Second

// ErrNoNFT: the nft program is missing.
var ErrNoNFT = errors.New("netio: nft not found: install the nftables package (apt install nftables)")

// nftPath finds nft also where PATH lacks sbin.
func nftPath() (string, error) {
	for _, name := range []string{"nft", "/usr/sbin/nft", "/sbin/nft"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoNFT
}

// runNFT gives script to nft, which does all of it or nothing.
func runNFT(ctx context.Context, script string, args ...string) ([]byte, error) {
	path, err := nftPath()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, nftTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(script)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("netio: nft: %w: %s", err, firstLine(stderr.String()))
	}
	return stdout.Bytes(), nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	if strings.Contains(line, "Operation not permitted") {
		line += " (needs CAP_NET_ADMIN: run it as root or by its systemd unit)"
	}
	return line
}

func loadGuard(ctx context.Context, c Config, d Desired) error {
	_, err := runNFT(ctx, guardText(c, d), "-f", "-")
	return err
}

func removeGuard(ctx context.Context, c Config) error {
	_, err := runNFT(ctx, removeText(c), "-f", "-")
	return err
}

// RestoreGuard loads the guard that was saved in stateDir, as at boot before the network is up. Nothing
// saved (no agent was ever set up, or it was cleaned up) is not an error.
func RestoreGuard(ctx context.Context, stateDir string) error {
	s, err := loadState(stateDir)
	if err != nil || s == nil {
		return err
	}
	return loadGuard(ctx, s.config(stateDir), s.Desired)
}
