//go:build linux

package contender

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sallyport.dev/sallyport/deploy/bench/bed"
)

// StrongSwan is strongSwan with its userspace ESP, the plugin kernel-libipsec, and AES-GCM by OpenSSL. It needs
// Debian's charon-systemd, strongswan-swanctl, libcharon-extra-plugins and libstrongswan-standard-plugins.
type StrongSwan struct {
	Daemon  string // charon-systemd
	Swanctl string
}

// Name implements Contender.
func (StrongSwan) Name() string { return "strongSwan kernel-libipsec" }

// Start implements Contender.
func (s StrongSwan) Start(ctx context.Context, b *bed.Bed, setup Setup) ([]*bed.Process, error) {
	var daemons []*bed.Process
	for end := range b.Ends {
		daemon, err := s.end(ctx, b, end, setup)
		if err != nil {
			return nil, err
		}
		daemons = append(daemons, daemon)
	}
	folder, err := b.FolderOf(0)
	if err != nil {
		return nil, err
	}
	return daemons, s.swanctl(ctx, folder, "--initiate", "--child", "bench")
}

// end starts the daemon of one end and loads its configuration.
func (s StrongSwan) end(ctx context.Context, b *bed.Bed, end int, setup Setup) (*bed.Process, error) {
	folder, err := b.FolderOf(end)
	if err != nil {
		return nil, err
	}
	// AppArmor's profiles are tied to the programs' paths and would not let them read our folder.
	for from, name := range map[string]string{s.Daemon: "charon", s.Swanctl: "swanctl"} {
		if err := copyProgram(from, filepath.Join(folder, name)); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(folder, "strongswan.conf"), []byte(strongswanConf(folder)), 0o600),
		os.WriteFile(filepath.Join(folder, "swanctl.conf"), []byte(swanctlConf(end, setup)), 0o600)); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if err := b.Route(ctx, end, setup.Inner, "via", bed.Outer(1-end, setup.Inner).String()); err != nil {
		return nil, err
	}
	daemon, err := b.Start(b.Ends[end], strongswanEnvironment(folder), filepath.Join(folder, "charon"))
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(folder, "vici")
	if err := daemon.Until(ctx, socket, func() bool { _, err := os.Stat(socket); return err == nil }); err != nil {
		return nil, err
	}
	return daemon, s.swanctl(ctx, folder, "--load-all", "--noprompt", "--file", filepath.Join(folder, "swanctl.conf"))
}

// swanctl talks to the daemon whose folder is given.
func (s StrongSwan) swanctl(ctx context.Context, folder, command string, arguments ...string) error {
	argv := append([]string{command, "--uri", "unix://" + filepath.Join(folder, "vici")}, arguments...)
	return bed.Run(ctx, strongswanEnvironment(folder), filepath.Join(folder, "swanctl"), argv...)
}

func strongswanEnvironment(folder string) []string {
	return []string{"STRONGSWAN_CONF=" + filepath.Join(folder, "strongswan.conf"), "SWANCTL_DIR=" + folder}
}

func strongswanConf(folder string) string {
	return fmt.Sprintf(`charon-systemd {
  load = random nonce aes sha1 sha2 hmac kdf openssl chapoly curve25519 pem pkcs1 pkcs8 x509 pubkey kernel-libipsec kernel-netlink socket-default vici updown
  filelog {
    stderr {
      default = 0
    }
  }
  plugins {
    vici {
      socket = unix://%s/vici
    }
  }
}
swanctl {
  load = random openssl pem pkcs1 pkcs8 x509 vici
}
`, folder)
}

func swanctlConf(end int, setup Setup) string {
	return fmt.Sprintf(`connections {
  bench {
    version = 2
    local_addrs = %[1]v
    remote_addrs = %[2]v
    proposals = aes128gcm16-prfsha256-x25519
    local {
      auth = psk
      id = %[1]v
    }
    remote {
      auth = psk
      id = %[2]v
    }
    children {
      bench {
        local_ts = %[3]v
        remote_ts = %[4]v
        esp_proposals = %[5]s
        mode = tunnel
      }
    }
  }
}
secrets {
  ike-bench {
    secret = "a secret of this bed only"
  }
}
`, bed.Outer(end, setup.Outer), bed.Outer(1-end, setup.Outer), bed.InnerNet(end, setup.Inner), bed.InnerNet(1-end, setup.Inner), setup.Proposal)
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o700)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("bench: copy %s: %w", from, err)
	}
	return nil
}
