//go:build linux

package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sallyport.dev/sallyport/deploy/interop/station"
)

// AgentSide is our end: an agent in the lab's namespace, started anew for each batch.
type AgentSide struct {
	Binary string
	Lab    *Lab

	cmd   *exec.Cmd
	ended chan error
	log   bytes.Buffer // of the running agent; read when it has ended
	last  string       // of the last one
}

// place is our end's.
func (a *AgentSide) place() place { return place{end: Ours, link: tapName} }

// Prepare makes what all cases need.
func (a *AgentSide) Prepare(ctx context.Context) error {
	_, err := a.Lab.Here.Run(ctx, "ip -batch -", []byte(a.place().prepare()))
	return err
}

// Station implements Side.
func (a *AgentSide) Station() *station.Client { return a.Lab.Here }

// startTimeout bounds the start of an agent, until it answers on its socket.
const startTimeout = 30 * time.Second

// Install implements Side.
func (a *AgentSide) Install(ctx context.Context, cases []Keyed) error {
	if _, err := a.Lab.Here.Run(ctx, "ip -batch -", []byte(a.place().addresses(cases))); err != nil {
		return err
	}
	file := filepath.Join(a.Lab.Folder, "manual.yaml")
	if err := os.WriteFile(file, []byte(Manual(cases)), 0o600); err != nil {
		return fmt.Errorf("interop: %w", err)
	}
	if err := a.state(cases); err != nil {
		return err
	}
	arguments := append([]string{"run", "--manual", file, "--run-dir", a.folder("run")}, a.names()...)
	a.log.Reset()
	a.cmd = a.agent(context.Background(), arguments...)
	a.cmd.Stdout, a.cmd.Stderr = &a.log, &a.log
	if err := a.cmd.Start(); err != nil {
		return fmt.Errorf("interop: start the agent: %w", err)
	}
	a.ended = make(chan error, 1)
	go func() { a.ended <- a.cmd.Wait() }()
	return a.ready(ctx)
}

func (a *AgentSide) folder(name string) string { return filepath.Join(a.Lab.Folder, name) }

// state makes a new state directory. It says that the numbers of the keys with ESN have been used until nearWrap.
func (a *AgentSide) state(cases []Keyed) error {
	reserved, err := reservations(cases)
	if err != nil {
		return err
	}
	folder := a.folder("state")
	if err := errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o700),
		os.WriteFile(filepath.Join(folder, "manual-sequence.json"), reserved, 0o600)); err != nil {
		return fmt.Errorf("interop: %w", err)
	}
	return nil
}

// names are the flags that `run` and `cleanup` must be given alike.
func (a *AgentSide) names() []string { return []string{"--state-dir", a.folder("state")} }

// agent is the agent's command line in the namespace.
func (a *AgentSide) agent(ctx context.Context, arguments ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", a.Lab.Namespace, a.Binary}, arguments...)...)
}

// ready waits until the agent answers.
func (a *AgentSide) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := a.ask(ctx, "sa"); err == nil {
			return nil
		}
		select {
		case err := <-a.ended:
			a.cmd, a.last = nil, a.log.String()
			return fmt.Errorf("interop: the agent has ended: %v: %s", err, a.last)
		case <-ctx.Done():
			return fmt.Errorf("interop: the agent does not answer: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// ask runs one of the agent's own commands and returns its JSON.
func (a *AgentSide) ask(ctx context.Context, command string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := a.agent(ctx, command, "--run-dir", a.folder("run"), "-o", "json")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("interop: sallyport-agent %s: %w: %s", command, err, stderr.String())
	}
	return out, nil
}

// Traffic implements Side.
func (a *AgentSide) Traffic(ctx context.Context) (map[uint32]Traffic, error) {
	out, err := a.ask(ctx, "sa")
	if err != nil {
		return nil, err
	}
	var associations []struct {
		SPI      uint32 `json:"spi"`
		Packets  uint64 `json:"packets"`
		Sequence uint64 `json:"sequence"`
	}
	if err := json.Unmarshal(out, &associations); err != nil {
		return nil, fmt.Errorf("interop: sallyport-agent sa: %w: %s", err, out)
	}
	traffic := map[uint32]Traffic{}
	for _, sa := range associations {
		traffic[sa.SPI] = Traffic{Packets: sa.Packets, Sequence: sa.Sequence}
	}
	return traffic, nil
}

// Errors implements Side: the packets that the agent has dropped, by reason.
func (a *AgentSide) Errors(ctx context.Context) (map[string]uint64, error) {
	out, err := a.ask(ctx, "counters")
	if err != nil {
		return nil, err
	}
	var counters struct {
		Drops map[string]uint64 `json:"drops"`
	}
	if err := json.Unmarshal(out, &counters); err != nil {
		return nil, fmt.Errorf("interop: sallyport-agent counters: %w: %s", err, out)
	}
	return counters.Drops, nil
}

// stopTimeout bounds an agent's end.
const stopTimeout = 10 * time.Second

// Clear implements Side: it ends the agent and removes what it has installed.
func (a *AgentSide) Clear(ctx context.Context) error {
	if a.cmd == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := a.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case ended := <-a.ended:
		err = errors.Join(err, ended)
	case <-time.After(stopTimeout):
		err = errors.Join(err, errors.New("interop: the agent does not end"), a.cmd.Process.Kill())
		<-a.ended
	}
	a.cmd, a.last = nil, a.log.String()
	if err != nil {
		return fmt.Errorf("interop: end the agent: %w", err)
	}
	if out, err := a.agent(ctx, append([]string{"cleanup"}, a.names()...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("interop: sallyport-agent cleanup: %w: %s", err, out)
	}
	_, err = a.Lab.Here.Run(ctx, a.place().clear(), nil)
	return err
}

// Said is the end of what the last agent that has ended said.
func (a *AgentSide) Said() string {
	const most = 4000
	return strings.TrimSpace(a.last[max(0, len(a.last)-most):])
}
