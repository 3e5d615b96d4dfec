package ike

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the transcripts anew")

// TestTranscripts runs testdata/*.txt: lines that begin with ">" are commands, what follows is what they make the two ends
// do. Commands:
//
//	> establish                 the handshake, to its end
//	> alice child rekey         an operation of an end: see operations, and "probe"
//	> drop 2, dup 1, delay 3 2s what becomes of the n-th datagram from here on
//	> tick 5s                   time passes
//	> crash bob                 the end goes on with what it has stored last, under the next fencing token
//	> children 1                both ends agree, and have so many children
//	> closed                    both ends have ended
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			twice(t, func(t *testing.T, restoring bool) {
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				got := transcribe(t, string(want), restoring)
				if *update {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
					return
				}
				if got != string(want) {
					t.Errorf("got\n%s", got)
				}
			})
		})
	}
}

// transcribe runs the commands of a transcript and returns it as it should be.
func transcribe(t *testing.T, script string, restoring bool) string {
	a, b := policies()
	l := newLab(t, 3, restoring, a, b)
	fates := map[int]fate{}
	l.rule = func(p *packet) fate { return fates[p.number] }
	var out strings.Builder
	for line := range strings.Lines(script) {
		command, ok := strings.CutPrefix(line, "> ")
		if !ok && !strings.HasPrefix(line, "#") {
			continue
		}
		out.WriteString(line)
		if !ok {
			continue
		}
		l.trace = nil
		l.do(strings.Fields(command), fates)
		for _, s := range l.trace {
			out.WriteString(withoutSPIs(s) + "\n")
		}
	}
	return out.String()
}

// withoutSPIs leaves out the SPIs of IKE SAs, which are random.
func withoutSPIs(s string) string {
	return strings.TrimRight(regexp.MustCompile(`\b[0-9a-f]{16}\b`).ReplaceAllString(s, "…"), " ")
}

func (l *lab) do(words []string, fates map[int]fate) {
	l.t.Helper()
	nth := func() int {
		n, err := strconv.Atoi(words[1])
		if err != nil {
			l.t.Fatal(err)
		}
		return l.sent + n
	}
	duration := func(s string) time.Duration {
		d, err := time.ParseDuration(s)
		if err != nil {
			l.t.Fatal(err)
		}
		return d
	}
	switch words[0] {
	case "establish":
		l.establish()
	case "drop":
		fates[nth()] = fate{drop: true}
	case "dup":
		fates[nth()] = fate{duplicate: true}
	case "delay":
		fates[nth()] = fate{delay: duration(words[2])}
	case "tick":
		l.run(duration(words[1]), nil)
	case "crash":
		l.end(words[1]).restart()
	case "children":
		n, err := strconv.Atoi(words[1])
		if err != nil {
			l.t.Fatal(err)
		}
		l.consistent(n)
	case "closed":
		if l.alice.closed == nil || l.bob.closed == nil {
			l.fail("an end is not closed")
		}
	case "alice", "bob":
		l.end(words[0]).do(strings.Join(words[1:], " "))
	default:
		l.t.Fatalf("no command %q", words[0])
	}
}

func (l *lab) end(name string) *end {
	if name == l.alice.name {
		return l.alice
	}
	return l.bob
}

func (e *end) do(what string) {
	e.l.t.Helper()
	switch {
	case what == "probe":
		e.command(Probe{})
	case slices.Contains(operations(), operation(what)):
		e.start(operation(what))
	default:
		e.l.t.Fatal(fmt.Errorf("no operation %q", what))
	}
}
