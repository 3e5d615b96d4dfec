//go:build linux

package lab

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// token makes a join token.
func (e *e2e) token(args ...string) string {
	e.t.Helper()
	out, err := e.CLICommand(e.ctx, append([]string{"join-token", "create"}, args...)...).Output()
	e.must(err)
	return strings.TrimSpace(string(out))
}

// refused starts an agent and asserts that it ends by itself with all these words in its log.
func (e *e2e) refused(i int, token string, words ...string) {
	e.t.Helper()
	e.must(e.StartAgent(i, token))
	ctx, cancel := context.WithTimeout(e.ctx, 30*time.Second)
	defer cancel()
	p := e.Process(HostName(i))
	if err := p.wait(ctx); err != nil {
		e.t.Errorf("the agent of %s was not refused: %v\n%s", HostName(i), err, e.LogTail(HostName(i)))
		e.must(p.kill(e.ctx))
	}
	for _, word := range words {
		if log := e.LogTail(HostName(i)); !strings.Contains(log, word) {
			e.t.Errorf("the agent's last words lack %q:\n%s", word, log)
		}
	}
}

// TestTokenMisuse: what a wrong token gets, and what a right one survives.
func TestTokenMisuse(t *testing.T) {
	e := newE2E(t, Config{Hosts: 4})

	good := e.token("--host", HostName(1))
	e.must(e.StartAgent(1, good))
	e.eventually(30*time.Second, "host-1 joins", func() error { _, err := e.Overlay(e.ctx, 1); return err })

	// Another machine with the same token.
	e.refused(2, good, "token", "join-token create")
	// A token cut off in a paste, and one with a wrong letter.
	e.refused(2, good[:len(good)-9], "token")
	e.refused(2, swapLetter(good), "token")
	// A token of another fleet: its root is not this controller's.
	other := newFleetOf(e)
	e.refused(2, other, "does not belong to the join token's fleet")
	// A token that has ended.
	short := e.token("--host", HostName(2), "--ttl", "1s")
	e.eventually(10*time.Second, "the token ends", func() error {
		out, err := e.CLI(e.ctx, "get", "join-tokens")
		if err == nil && !strings.Contains(out, "ended") {
			err = errors.New(out)
		}
		return err
	})
	e.refused(2, short, "token", "join-token create")

	// The host comes back with its certificate and no token.
	e.must(e.StopAgent(e.ctx, 1))
	e.must(e.StartAgent(1, ""))
	// One token for several, named by prefix.
	many := e.token("--prefix", "edge-", "--uses", "2")
	e.must(e.StartAgent(3, many))
	e.must(e.StartAgent(4, many))
	e.eventually(30*time.Second, "two hosts join by one token", func() error {
		out, err := e.CLI(e.ctx, "get", "hosts", "-o", "name")
		if err == nil && strings.Count(out, "edge-") != 2 {
			err = errors.New(out)
		}
		return err
	})
	e.refused(2, many, "token", "join-token create")

	// The rest of the test needs ESP on the underlay, as every test's capture does.
	_, err := e.Apply(e.ctx, "mesh", MeshPolicy)
	e.must(err)
	e.eventually(time.Minute, "all pairs are up", func() error { _, err := e.CLI(e.ctx, "status"); return err })
}

// swapLetter changes one letter of the secret.
func swapLetter(token string) string {
	b := []byte(token)
	at := strings.LastIndexByte(token, '.') - 3
	if b[at] == 'a' {
		b[at] = 'b'
	} else {
		b[at] = 'a'
	}
	return string(b)
}

// newFleetOf makes a second fleet beside the first and returns a token of it.
func newFleetOf(e *e2e) string {
	e.t.Helper()
	owner, err := Self()
	e.must(err)
	second, err := Up(e.ctx, Config{Name: e.Config().Name + "b", Hosts: 1, Owner: owner, Binaries: binaries(e.t)})
	e.must(err)
	defer func() { e.must(second.Down(e.ctx)) }()
	e.must(second.StartController(e.ctx))
	out, err := second.CLICommand(e.ctx, "join-token", "create", "--host", HostName(2)).Output()
	e.must(err)
	return strings.TrimSpace(string(out))
}

// TestBadInput: each mistake gets a clear error, an exit status, and changes nothing.
func TestBadInput(t *testing.T) {
	e := newE2E(t, Config{Hosts: 2})
	e.mesh()
	before, err := e.CLI(e.ctx, "get", "policies", "-o", "yaml")
	e.must(err)
	for _, c := range []struct {
		name, manifest string
		words          []string
	}{
		{"unknown field", "kind: Policy\nmetadata: {name: p}\nspec:\n  hosts: \"*\"\n  hots: x\n", []string{":5:", "hots"}},
		{"unknown kind", "kind: Polisy\nmetadata: {name: p}\n", []string{":1:", "Polisy"}},
		{"bad selector", "kind: Policy\nmetadata: {name: p}\nspec:\n  hosts: \"a=b,,\"\n", []string{"spec.hosts"}},
		{"bad proposal", "kind: Policy\nmetadata: {name: p}\nspec:\n  hosts: \"*\"\n  proposal: des\n", []string{"spec.proposal", "aes256gcm16"}},
		{"overlapping subnets", "kind: Host\nmetadata: {name: host-1}\nspec: {subnets: [10.1.0.0/16]}\n---\nkind: Host\nmetadata: {name: host-2}\nspec: {subnets: [10.1.2.0/24]}\n", []string{"10.1.2.0/24", "host-1"}},
		{"subnet with host bits", "kind: Host\nmetadata: {name: host-1}\nspec: {subnets: [10.1.2.3/24]}\n", []string{"spec.subnets", "10.1.2.0/24"}},
		{"subnet in the pool", "kind: Host\nmetadata: {name: host-1}\nspec: {subnets: [100.80.7.0/24]}\n", []string{"100.80"}},
		{"hard before rekey", "kind: Policy\nmetadata: {name: p}\nspec: {hosts: \"*\", lifetime: {rekey_time: 2h, hard_time: 1h}}\n", []string{"hard"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := e.Apply(e.ctx, "bad", c.manifest)
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() == 0 {
				t.Fatalf("apply: %v, printed %q", err, out)
			}
			for _, word := range c.words {
				if !strings.Contains(out, word) {
					t.Errorf("the error lacks %q: %s", word, out)
				}
			}
		})
	}
	out, err := e.Apply(e.ctx, "nobody", "kind: Policy\nmetadata: {name: nobody}\nspec: {hosts: \"role=ghost\"}\n")
	if err != nil || !strings.Contains(out, "nobody") || !strings.Contains(out, "warning") {
		t.Errorf("a policy that selects nobody: %v, printed %q; want a warning", err, out)
	}
	_, err = e.CLI(e.ctx, "delete", "policy", "nobody", "--yes")
	e.must(err)
	after, err := e.CLI(e.ctx, "get", "policies", "-o", "yaml")
	e.must(err)
	if before != after {
		t.Errorf("bad input changed the policies:\n%s\nbefore:\n%s", after, before)
	}
	e.pingAll()
}

// TestSmallPool: the third host finds the pool full, is told so, and joins when there is room.
func TestSmallPool(t *testing.T) {
	e := newE2E(t, Config{Hosts: 6, ControllerFlags: []string{"--pool-ipv4", "100.81.0.0/29"}})
	for i := 1; i <= 5; i++ {
		e.must(e.JoinHost(e.ctx, i))
	}
	_, err := e.Apply(e.ctx, "mesh", MeshPolicy)
	e.must(err)
	e.eventually(time.Minute, "five hosts are up", func() error {
		out, err := e.CLI(e.ctx, "get", "hosts", "-o", "name")
		if err == nil && strings.Count(out, "host-") != 5 {
			err = errors.New(out)
		}
		return err
	})
	e.refused(6, e.token("--host", HostName(6)), "100.81.0.0/29")
}
