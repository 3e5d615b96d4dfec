//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Config describes a lab.
type Config struct {
	// Name of the lab: lower-case letters, digits and '-', at most 20 characters.
	Name string `json:"name"`
	// Hosts is how many hosts the lab has.
	Hosts int `json:"hosts"`
	// NAT lists the hosts, from 1, that are behind a NAT.
	NAT []int `json:"nat,omitempty"`
	// Sites lists the hosts, from 1, that have a network behind them.
	Sites []int `json:"sites,omitempty"`
	// IPv6 makes the underlay's traffic IPv6; else it is IPv4.
	IPv6 bool `json:"ipv6,omitempty"`
	// Owner is the process that the lab dies with: a later start removes the lab when that process
	// is gone. Zero for a lab that stays until Down.
	Owner Process `json:"owner,omitzero"`
	// Binaries that the lab runs.
	Binaries Binaries `json:"binaries"`
	// ControllerFlags and AgentFlags are added to the daemons' command lines.
	ControllerFlags []string `json:"controllerFlags,omitempty"`
	AgentFlags      []string `json:"agentFlags,omitempty"`
}

// Binaries are paths of executables.
type Binaries struct {
	Controller string `json:"controller"`
	Agent      string `json:"agent"`
	CLI        string `json:"cli"`
}

// FindBinaries looks for the daemons beside the command line's own executable, then in PATH.
func FindBinaries() (Binaries, error) {
	self, err := os.Executable()
	if err != nil {
		return Binaries{}, fmt.Errorf("lab: find own executable: %w", err)
	}
	find := func(name string) (string, error) {
		if path := filepath.Join(filepath.Dir(self), name); isExecutable(path) {
			return path, nil
		}
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("lab: %s is neither beside %s nor in PATH: run make build", name, self)
		}
		return path, nil
	}
	controller, err := find("sallyport-controller")
	if err != nil {
		return Binaries{}, err
	}
	agent, err := find("sallyport-agent")
	if err != nil {
		return Binaries{}, err
	}
	return Binaries{Controller: controller, Agent: agent, CLI: self}, nil
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$`)

func (c Config) validate() error {
	if !namePattern.MatchString(c.Name) {
		return fmt.Errorf("lab: name %q: use 1 to 20 lower-case letters, digits and '-'", c.Name)
	}
	if c.Hosts < 1 || c.Hosts > maxHosts {
		return fmt.Errorf("lab: %d hosts: a lab has 1 to %d", c.Hosts, maxHosts)
	}
	for _, i := range append(append([]int{}, c.NAT...), c.Sites...) {
		if i < 1 || i > c.Hosts {
			return fmt.Errorf("lab: there is no host %d: the lab has hosts 1 to %d", i, c.Hosts)
		}
	}
	return nil
}

// requirements are the commands that a lab runs, and the Debian packages that hold them.
var requirements = map[string]string{"ip": "iproute2", "nft": "nftables"}

// checkTools says which commands are missing.
func checkTools(tools map[string]string) error {
	var missing []string
	for tool, pkg := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, fmt.Sprintf("%s (package %s)", tool, pkg))
		}
	}
	if len(missing) > 0 {
		return errors.New("lab: not installed: " + strings.Join(missing, ", "))
	}
	return nil
}
