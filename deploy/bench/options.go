//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"sallyport.dev/sallyport/deploy/bench/contender"
)

// options is the command line.
type options struct {
	pairs   int
	seconds int
	quick   bool
	figures []string
	report  string
	ours    contender.Binaries
	wg      string
}

// What the issue of a valid result asks for at least.
const (
	leastPairs   = 7
	leastSeconds = 5
)

func parse(arguments []string, out io.Writer) (options, error) {
	var o options
	f := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	f.SetOutput(out)
	f.IntVar(&o.pairs, "pairs", leastPairs, "pairs of runs for each measurement")
	f.IntVar(&o.seconds, "seconds", leastSeconds, "length of a run")
	f.BoolVar(&o.quick, "quick", false, "2 pairs of 2 s, to see whether it works; the figures are not valid")
	f.StringSliceVar(&o.figures, "figures", nil, "only these: numbers of figures, or names ("+strings.Join(names(), ", ")+")")
	f.StringVar(&o.report, "report", "", "write the table to this file")
	f.StringVar(&o.ours.Agent, "agent", "bin/sallyport-agent", "our agent")
	f.StringVar(&o.ours.Controller, "controller", "bin/sallyport-controller", "our controller")
	f.StringVar(&o.ours.CLI, "sallyport", "bin/sallyport", "our command line")
	f.StringVar(&o.wg, "wireguard-go", "bin/bench/wireguard-go", "wireguard-go")
	if err := f.Parse(arguments); err != nil {
		return o, err
	}
	if o.quick {
		o.pairs, o.seconds = 2, 2
	}
	if o.pairs < 1 || o.seconds < 1 {
		return o, errors.New("bench: --pairs and --seconds: want at least 1")
	}
	for _, name := range o.figures {
		if !slices.Contains(names(), name) {
			return o, fmt.Errorf("bench: --figures %s: there are %s", name, strings.Join(names(), ", "))
		}
	}
	return o, nil
}

// wants says whether something of this name is to be measured.
func (o options) wants(name string) bool {
	return len(o.figures) == 0 || slices.Contains(o.figures, name)
}

// valid says whether the figures count.
func (o options) valid() bool { return o.pairs >= leastPairs && o.seconds >= leastSeconds }

func (o options) time() time.Duration { return time.Duration(o.seconds) * time.Second }
