//go:build linux

package strongswan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"sallyport.dev/sallyport/deploy/lab"
)

// peerName is the Peer's, the connection's and the IKE SA's name; childName that of its child.
const (
	peerName  = "peer"
	childName = "net"
)

// Bed is a lab with one host of the fleet, and a gateway that runs charon.
type Bed struct {
	Lab      *lab.Lab
	Programs Programs
	at       place
	number   int
}

// OpenBed starts controller and agent. nat is the end that is behind one, or "".
func OpenBed(ctx context.Context, config lab.Config, programs Programs, nat string) (*Bed, error) {
	config.Hosts, config.Sites = 2, []int{1, 2}
	switch nat {
	case "ours":
		config.NAT = []int{1}
	case "theirs":
		config.NAT = []int{2}
	}
	l, err := lab.Up(ctx, config)
	if err != nil {
		return nil, err
	}
	b := &Bed{Lab: l, Programs: programs, at: place{lab.HostAddress(1)[0].String(), lab.HostAddress(2)[0].String()}}
	if err := b.begin(ctx); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Bed) begin(ctx context.Context) error {
	if err := b.Lab.StartController(ctx); err != nil {
		return err
	}
	if err := b.Lab.JoinHost(ctx, 1); err != nil {
		return err
	}
	return until(ctx, patience, "host-1 is connected", func() error {
		out, err := b.Lab.CLI(ctx, "get", "host", "host-1", "-o", "json")
		if err == nil && !strings.Contains(out, `"connected": true`) && !strings.Contains(out, `"connected":true`) {
			err = errors.New("it is not connected: " + out)
		}
		return err
	})
}

// Close ends everything.
func (b *Bed) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return b.Lab.Down(ctx)
}

// inGateway prepares a command where charon runs.
func (b *Bed) inGateway(ctx context.Context, argv ...string) *exec.Cmd {
	return b.Lab.Command(ctx, lab.HostName(2), argv...)
}

// patience bounds what a step waits for.
const patience = 25 * time.Second

// until tries until it works. The error is that of the last try.
func until(ctx context.Context, most time.Duration, what string, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s: %w", what, err)
		}
	}
}

// run is one scenario that is being run.
type run struct {
	*Bed
	scenario Scenario
	issued   Certificates
	charon   *Charon
	folder   string
}

// Run runs a scenario. The error says which step has failed, and what both sides have to say.
func (b *Bed) Run(ctx context.Context, s Scenario) (err error) {
	b.number++
	r := &run{Bed: b, scenario: s, folder: b.Lab.Path(fmt.Sprintf("charon-%d", b.number))}
	if s.Certificates != "" {
		if r.issued, err = MakeCertificates(s.Certificates, s.Misnamed); err != nil {
			return err
		}
	}
	if err := r.startCharon(ctx); err != nil {
		return err
	}
	defer func() { r.charon.Stop() }()
	if err := r.apply(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.remove(ctx)) }()
	for i, text := range s.Steps {
		step, err := parseStep(text)
		if err != nil {
			return err
		}
		if err := step(ctx, r); err != nil {
			return fmt.Errorf("step %d, %q: %w\n%s", i+1, text, err, r.evidence(ctx))
		}
	}
	return nil
}

func (r *run) startCharon(ctx context.Context) (err error) {
	r.charon, err = StartCharon(ctx, r.Programs, r.folder, r.inGateway, r.scenario, r.issued, r.at)
	return err
}

// apply makes the Peer and its Credentials.
func (r *run) apply(ctx context.Context) error {
	resources := []map[string]any{resource("Credential", "peer-psk", map[string]any{"type": "psk", "secret": r.scenario.Secret})}
	if r.scenario.Certificates != "" {
		resources = []map[string]any{
			resource("Credential", "peer-key", map[string]any{"type": "key", "secret": r.issued.Ours.Key, "certificates": r.issued.Ours.Certificate}),
			resource("Credential", "peer-ca", map[string]any{"type": "ca", "certificates": r.issued.CA}),
		}
	}
	resources = append(resources, resource("Peer", peerName, r.scenario.peerSpec(r.at)))
	var manifest strings.Builder
	for _, one := range resources {
		text, err := json.Marshal(one) // JSON is YAML
		if err != nil {
			return fmt.Errorf("interop: %w", err)
		}
		fmt.Fprintf(&manifest, "---\n%s\n", text)
	}
	_, err := r.Lab.Apply(ctx, peerName, manifest.String())
	return err
}

func resource(kind, name string, spec map[string]any) map[string]any {
	return map[string]any{"kind": kind, "metadata": map[string]any{"name": name}, "spec": spec}
}

// remove takes the Peer away and waits until the host has forgotten it.
func (r *run) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*patience)
	defer cancel()
	if _, err := r.Lab.CLI(ctx, "delete", "peer", peerName, "--yes"); err != nil {
		return err
	}
	return until(ctx, patience, "the host has forgotten the peer", func() error {
		out, err := r.Lab.Agent(ctx, 1, "policy")
		if err == nil && strings.Contains(out, peerName) {
			err = errors.New(out)
		}
		return err
	})
}

// evidence is what both sides have to say about a failure.
func (r *run) evidence(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	var b strings.Builder
	for _, args := range [][]string{{"peer", "why", peerName}, {"get", "ike-sas", "-o", "wide"}} {
		out, err := r.Lab.CLI(ctx, args...)
		fmt.Fprintf(&b, "--- sallyport %s (%v)\n%s", strings.Join(args, " "), err, out)
	}
	out, err := r.Lab.Agent(ctx, 1, "sa")
	fmt.Fprintf(&b, "--- sallyport-agent sa (%v)\n%s", err, out)
	out, _ = r.charon.Swanctl(ctx, "--list-sas")
	fmt.Fprintf(&b, "--- swanctl --list-sas\n%s--- charon\n%s", out, tail(r.charon.Log(), 6000))
	for _, node := range []string{"ctl", "host-1"} {
		log, _ := os.ReadFile(r.Lab.Log(node))
		fmt.Fprintf(&b, "--- %s\n%s", node, tail(string(log), 4000))
	}
	return b.String()
}

func tail(s string, most int) string { return s[max(0, len(s)-most):] }
