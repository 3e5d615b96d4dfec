//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ordinaryUser is a user id that nobody has, with a home and the binaries. Its commands see a
// /dev/net/tun that everybody may open, as on Debian:
//
//	root: unshare --mount ─▶ mount --bind tun ─▶ setpriv ─▶ sallyport lab …
type ordinaryUser struct {
	t       *testing.T
	uid     int
	home    string
	cli     string
	prepare string // what root does before the command, sh
}

func newOrdinaryUser(t *testing.T) *ordinaryUser {
	t.Helper()
	bin := binaries(t)
	if err := checkTools(map[string]string{"unshare": "util-linux", "setpriv": "util-linux", "nsenter": "util-linux"}); err != nil {
		t.Skip(err)
	}
	home, err := os.MkdirTemp("", "sp-home-")
	if err != nil {
		t.Fatal(err)
	}
	u := &ordinaryUser{t: t, uid: 10_000_000 + os.Getpid()%1_000_000*10 + int(labNumber.Add(1))%10, home: home, cli: bin.CLI}
	t.Cleanup(func() {
		u.leaveNothing()
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(os.Chown(home, u.uid, u.uid), os.Chmod(binDir, 0o755)); err != nil {
		t.Fatal(err)
	}
	tun := filepath.Join(home, "tun")
	const tunDevice = 10<<8 | 200
	if err := errors.Join(syscall.Mknod(tun, syscall.S_IFCHR|0o666, tunDevice), os.Chmod(tun, 0o666)); err != nil {
		t.Skip("cannot make a TUN device node for an ordinary user: ", err)
	}
	if f, err := os.OpenFile(tun, os.O_RDWR, 0); err != nil {
		t.Skip("device nodes do not work in ", home, ": ", err)
	} else {
		f.Close()
	}
	u.prepare = "mount --bind " + tun + " /dev/net/tun"
	return u
}

// command prepares a call of sallyport by the user. Its end ends with the context.
func (u *ordinaryUser) command(ctx context.Context, args ...string) *exec.Cmd {
	script := u.prepare + fmt.Sprintf(` && exec setpriv --reuid=%d --regid=%d --clear-groups "$@"`, u.uid, u.uid)
	c := exec.CommandContext(ctx, "unshare", append([]string{"--mount", "sh", "-ec", script, "sh", u.cli}, args...)...)
	c.Dir = "/"
	// Debian's PATH for users, without the folders of nft and others.
	c.Env = []string{"HOME=" + u.home, "PATH=/usr/local/bin:/usr/bin:/bin"}
	return c
}

// run calls sallyport and returns what it printed.
func (u *ordinaryUser) run(args ...string) (string, error) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), 2*time.Minute)
	defer cancel()
	out, err := u.command(ctx, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("sallyport %v: %w: %s", args, err, out)
	}
	return string(out), err
}

func (u *ordinaryUser) must(args ...string) string {
	u.t.Helper()
	out, err := u.run(args...)
	if err != nil {
		u.t.Fatal(err)
	}
	return out
}

// processes are those of the user, with their command lines.
func (u *ordinaryUser) processes() map[int]string {
	u.t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		u.t.Fatal(err)
	}
	found := map[int]string{}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != u.uid {
			continue // ended meanwhile, or somebody else's
		}
		var pid int
		if _, err := fmt.Sscan(filepath.Base(path), &pid); err != nil {
			u.t.Fatal(err)
		}
		if _, err := identify(pid); err != nil {
			continue // has ended, and waits for its parent
		}
		line, _ := os.ReadFile(filepath.Join(path, "cmdline"))
		found[pid] = strings.ReplaceAll(string(line), "\x00", " ")
	}
	return found
}

// leaveNothing ends what a failed test left. The user id is the test's own.
func (u *ordinaryUser) leaveNothing() {
	for pid := range u.processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// gone waits until no process of the user runs. With the processes go their namespaces.
func (u *ordinaryUser) gone() {
	u.t.Helper()
	err := retry(u.t.Context(), 20*time.Second, func() error {
		if left := u.processes(); len(left) > 0 {
			return fmt.Errorf("%v", left)
		}
		return nil
	})
	if err != nil {
		u.t.Errorf("left behind: %v", err)
	}
}

var overlayLine = regexp.MustCompile(`(?m)^(host-\d+)\s+(\S+)\s+(\S+)$`)

// TestRootless: an ordinary user runs labs, two at a time, and keeps nothing of them.
func TestRootless(t *testing.T) {
	u := newOrdinaryUser(t)
	up := u.must("lab", "up", "--hosts", "2", "--nat", "1")
	t.Log(up)
	hosts := overlayLine.FindAllStringSubmatch(up, -1)
	if len(hosts) != 2 {
		t.Fatalf("lab up printed no two hosts:\n%s", up)
	}
	for _, addr := range hosts[1][2:] {
		// One request a second: between requests ping waits for a late answer.
		out := u.must("lab", "exec", "host-1", "--", "ping", "-n", "-c", "2", addr)
		if !strings.Contains(out, "2 packets transmitted, 2 received") {
			t.Errorf("ping %s: %s", addr, out)
		}
	}
	if out, err := u.run("lab", "exec", "host-1", "--", "sh", "-c", "exit 77"); exitStatus(err) != 77 || out != "" {
		t.Errorf("the status of a command on a node is not handed on alone: %v, %q", err, out)
	}
	u.must("lab", "sallyport", "--", "status")
	u.must("lab", "up", "--name", "second", "--hosts", "1")
	if names := strings.Fields(u.must("lab", "list")); len(names) != 2 {
		t.Errorf("labs: %v", names)
	}
	anchors := 0
	for _, line := range u.processes() {
		if strings.HasSuffix(line, "lab list ") {
			anchors++
		}
	}
	if anchors != 1 {
		t.Errorf("%d anchors, want one for all labs: %v", anchors, u.processes())
	}
	u.must("lab", "down", "--name", "second")
	u.must("lab", "exec", "host-1", "--", "ping", "-n", "-c", "1", hosts[1][2])
	u.must("lab", "down")
	u.gone()
	if left, _ := filepath.Glob(filepath.Join(u.home, ".cache", "sallyport", "lab", "[a-z]*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestRootlessDemo is `make demo` of an ordinary user.
func TestRootlessDemo(t *testing.T) {
	u := newOrdinaryUser(t)
	if err := checkTools(map[string]string{"dumpcap": "wireshark-common", "iperf3": "iperf3"}); err != nil {
		t.Skip(err)
	}
	t.Log(u.must("lab", "demo"))
	u.gone()
}

// TestRootlessAnchorKilled: with the anchor a lab's namespaces are lost; the next start takes its daemons
// away, and works.
func TestRootlessAnchorKilled(t *testing.T) {
	u := newOrdinaryUser(t)
	u.must("lab", "up", "--hosts", "1")
	before := u.processes()
	for pid, line := range before {
		if strings.HasSuffix(line, "lab list ") {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	u.must("lab", "up", "--name", "next", "--hosts", "1")
	for pid, line := range u.processes() {
		if before[pid] == line {
			t.Errorf("still there: %d %s", pid, line)
		}
	}
	u.must("lab", "down", "--name", "next")
	u.gone()
}

// TestRootlessInterrupted: a signal in the middle of a start takes back what was made.
func TestRootlessInterrupted(t *testing.T) {
	u := newOrdinaryUser(t)
	var out strings.Builder
	c := u.command(t.Context(), "lab", "up", "--hosts", "3")
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	err := retry(t.Context(), time.Minute, func() error {
		for _, line := range u.processes() {
			if strings.Contains(line, "sallyport-controller run") {
				return nil
			}
		}
		return errors.New("no controller yet")
	})
	if err != nil {
		t.Fatal(err)
	}
	// The command has become its successor in the namespaces: the pid is the same.
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); exitStatus(err) <= 0 {
		t.Errorf("lab up, interrupted: %v: %s", err, &out)
	}
	u.gone()
}

// TestRootlessRefused: what an ordinary user lacks is named, with who can change it.
func TestRootlessRefused(t *testing.T) {
	u := newOrdinaryUser(t)
	only := filepath.Join(u.home, "bin")
	for name, c := range map[string]struct {
		prepare string
		words   []string
	}{
		"no access to TUN":  {"chmod 0600 " + filepath.Join(u.home, "tun") + " && " + u.prepare, []string{"/dev/net/tun", "permission denied", "chmod 0666"}},
		"no TUN":            {"mount -t tmpfs none /dev/net", []string{"/dev/net/tun", "no such file", "module tun"}},
		"no user namespace": {"", []string{"user.max_user_namespaces is 0", "run as root"}},
		"no nsenter":        {u.prepare + " && mkdir " + only + " && ln -s $(command -v setpriv) " + only + " && PATH=" + only, []string{"nsenter", "util-linux"}},
	} {
		t.Run(name, func(t *testing.T) {
			v := *u
			v.t, v.prepare = t, c.prepare
			cmd := v.command(t.Context(), "lab", "up")
			if c.prepare == "" {
				// The limit is one of a user namespace: the test's own, not the machine's.
				v.prepare = u.prepare + " && echo 0 > /proc/sys/user/max_user_namespaces"
				cmd = v.command(t.Context(), "lab", "up")
				cmd.SysProcAttr = &syscall.SysProcAttr{
					Cloneflags:                 syscall.CLONE_NEWUSER,
					UidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: u.uid + 1}},
					GidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: u.uid + 1}},
					GidMappingsEnableSetgroups: true,
				}
			}
			out, err := cmd.CombinedOutput()
			if exitStatus(err) <= 0 {
				t.Fatalf("lab up: %v: %s", err, out)
			}
			for _, word := range c.words {
				if !strings.Contains(string(out), word) {
					t.Errorf("the error lacks %q: %s", word, out)
				}
			}
			if left := v.processes(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// exitStatus is that of a command that ended by itself, 0 for success, -1 for anything else.
func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}
