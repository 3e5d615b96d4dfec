//go:build linux

package bed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a daemon of a bed. It ends with the bed.
type Process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	err   error         // how; after ended
	said  journal
}

// Start starts a daemon in one of the bed's namespaces, with extra environment variables.
func (b *Bed) Start(n *Namespace, environment []string, argv ...string) (*Process, error) {
	p := &Process{cmd: n.Command(context.Background(), argv...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	p.cmd.Env = append(os.Environ(), environment...)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: start %s: %w", argv[0], err)
	}
	b.processes = append(b.processes, p)
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stopTimeout is how long a process may take to end.
const stopTimeout = 10 * time.Second

// stop asks the process to end, and makes it when it does not.
func (p *Process) stop() error {
	select {
	case <-p.ended:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("bench: end %s: %w", p.name(), err)
	}
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("bench: kill %s: %w", p.name(), err)
		}
		<-p.ended
	}
	return nil
}

func (p *Process) name() string { return strings.Join(p.cmd.Args[min(len(p.cmd.Args), 4):], " ") }

// Said is what the process has written.
func (p *Process) Said() string { return p.said.String() }

// readyTimeout bounds the start of a daemon.
const readyTimeout = 20 * time.Second

// Until waits until done, and says what was waited for when the process ends or time runs out before that.
func (p *Process) Until(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("bench: %s: %s: %w: %s", p.name(), what, ctx.Err(), p.Said())
		case <-p.ended:
			return fmt.Errorf("bench: %s has ended before: %s: %v: %s", p.name(), what, p.err, p.Said())
		case <-tick.C:
		}
	}
	return nil
}

// clockTicks is USER_HZ, the unit of the times in /proc: 100 a second wherever Go runs on Linux.
const clockTicks = 100

// CPU is the processor time that the process has used, with all its threads, in seconds: utime and stime of
// /proc/PID/stat.
func (p *Process) CPU() (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("bench: %s: %w", p.name(), err)
	}
	return parseCPU(stat)
}

// parseCPU reads fields 14 and 15. The second field is the command in parentheses and may hold anything.
func parseCPU(stat []byte) (float64, error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const first, utime, stime = 3, 14, 15
	if len(fields) <= stime-first {
		return 0, fmt.Errorf("bench: /proc/PID/stat says %q", stat)
	}
	user, err := strconv.ParseUint(string(fields[utime-first]), 10, 64)
	system, other := strconv.ParseUint(string(fields[stime-first]), 10, 64)
	if err := errors.Join(err, other); err != nil {
		return 0, fmt.Errorf("bench: /proc/PID/stat says %q: %w", stat, err)
	}
	return float64(user+system) / clockTicks, nil
}

// journal is what a process writes, the first of it.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// most bounds a journal, bytes.
const most = 64 << 10

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.b.Write(p[:min(len(p), most-j.b.Len())])
	return len(p), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}
