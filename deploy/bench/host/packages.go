//go:build linux

package host

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Need is a file that a Debian package brings.
type Need struct{ Path, Package string }

// Tools are what every measurement needs.
func Tools() []Need {
	return []Need{{"ip", "iproute2"}, {"nft", "nftables"}, {"iperf3", "iperf3"}, {"ping", "iputils-ping"}}
}

// StrongSwan is what the comparison with strongSwan needs.
func StrongSwan() []Need {
	const plugins = "/usr/lib/ipsec/plugins/libstrongswan-"
	return []Need{
		{"charon-systemd", "charon-systemd"}, {"swanctl", "strongswan-swanctl"},
		{plugins + "kernel-libipsec.so", "libcharon-extra-plugins"}, {plugins + "openssl.so", "libstrongswan-standard-plugins"},
		{plugins + "curve25519.so", "libstrongswan-extra-plugins"},
	}
}

// Find looks for a program in PATH and where Debian keeps those of root, or for the file itself.
func Find(name string) (string, error) {
	if strings.Contains(name, "/") {
		_, err := os.Stat(name)
		return name, err
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, folder := range []string{"/usr/sbin/", "/sbin/"} {
		if path, err := exec.LookPath(folder + name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("bench: %s: not found", name)
}

// missing are the packages of needs that are not there.
func missing(needs []Need) []string {
	var packages []string
	for _, n := range needs {
		if _, err := Find(n.Path); err != nil && !slices.Contains(packages, n.Package) {
			packages = append(packages, n.Package)
		}
	}
	return packages
}

// Install makes sure of needs: it installs by apt-get what is missing, and says so; without apt-get the error names
// what to install.
func Install(ctx context.Context, needs []Need, log io.Writer) error {
	packages := missing(needs)
	if len(packages) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("bench: missing packages; on Debian, as root: apt-get install --no-install-recommends %s", strings.Join(packages, " "))
	}
	fmt.Fprintln(log, "installing", strings.Join(packages, " "))
	for _, arguments := range [][]string{{"update", "-qq"}, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)} {
		cmd := exec.CommandContext(ctx, "apt-get", arguments...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("bench: apt-get %s: %w: %s", strings.Join(arguments, " "), err, out)
		}
	}
	if left := missing(needs); len(left) > 0 {
		return fmt.Errorf("bench: still not there after installing: the files of %s", strings.Join(left, " "))
	}
	return nil
}
