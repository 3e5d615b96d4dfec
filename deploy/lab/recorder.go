//go:build linux

package lab

import (
	"regexp"
	"strconv"
)

// tcpdump gives root's rights up, even to become root, and cannot in a user namespace of an ordinary
// user, where setgroups is not allowed. There dumpcap records, and tcpdump reads as somebody else.

// captureTools are the commands that captures need, and their packages.
func captureTools() map[string]string {
	tools := map[string]string{"tcpdump": "tcpdump"}
	if insideUserNamespace() {
		tools["dumpcap"], tools["unshare"] = "wireshark-common", "util-linux"
	}
	return tools
}

// recorder is the command that records a device, at most snaplen bytes of each packet; 0 is all of it.
func recorder(device, file string, snaplen int) []string {
	snap := strconv.Itoa(snaplen)
	if insideUserNamespace() {
		return []string{"dumpcap", "-i", device, "-q", "-P", "-B", "64", "-s", snap, "-w", file}
	}
	// Immediate mode and -U: nothing waits in a buffer when the recording ends. -Z root: the directory
	// is ours only.
	return []string{"tcpdump", "-i", device, "--immediate-mode", "-U", "-Z", "root", "-n", "-B", "65536", "-s", snap, "-w", file}
}

// recording is what the recorder says when it has begun.
func recording() string {
	if insideUserNamespace() {
		return "File: "
	}
	return "listening on"
}

// noneMissed is what tcpdump or dumpcap says at the end when no packet was lost.
var noneMissed = regexp.MustCompile(`(?m)^0 packets dropped by kernel|^Packets received/dropped on interface .*: \d+/0 `)

// recordedAll says whether the recorder's last words tell that no packet was lost.
func recordedAll(said string) bool { return noneMissed.MatchString(said) }

// reader is the command that reads a capture, without its arguments.
func reader() []string {
	if insideUserNamespace() {
		return []string{"unshare", "--user", "--map-user=1", "tcpdump"}
	}
	return []string{"tcpdump"}
}
