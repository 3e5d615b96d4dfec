package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/controller/sallyport/render"
	"sallyport.dev/sallyport/services/fault"
)

// maxPairs is how many pairs are asked for, the API's bound; those that are not up come first.
const maxPairs = 10000

// status is one call of the status command.
type status struct {
	*app
	all    bool
	wait   bool
	output *string
}

func (a *app) statusCommand() *cobra.Command {
	s := status{app: a}
	c := &cobra.Command{
		Use:   "status",
		Short: "Say whether everything wanted is up, and if not, why",
		Long: `Say how the fleet is: the controller, the store, the hosts, and each wanted pair of hosts that is not
up, with the reason. The exit status is 0 when every pair is up, every host connected and the store in
order, and 9 when not.`,
		Example: `  sallyport status
  sallyport status --all
  sallyport status --wait --timeout 2m && ./deploy`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return s.run(c.Context()) },
	}
	s.output = outputFlag(c, "text", "json")
	c.Flags().BoolVar(&s.all, "all", false, "show the pairs that are up, too")
	c.Flags().BoolVar(&s.wait, "wait", false, "wait until all is up")
	return c
}

func (s *status) run(ctx context.Context) error {
	client, err := s.admin()
	if err != nil {
		return err
	}
	limit := callTimeout
	if s.wait {
		limit = waitTimeout
	}
	bounded, cancel := s.within(ctx, limit)
	defer cancel()
	var fleet *operatorv1.GetStatusResponse
	if s.wait {
		fleet, err = s.await(ctx, bounded, client)
	} else {
		fleet, err = ask(bounded, client)
	}
	if err != nil {
		return err
	}
	if err := s.show(fleet); err != nil {
		return err
	}
	if !allUp(fleet) {
		return exit.Silent(exit.NotUp)
	}
	return nil
}

func ask(ctx context.Context, client operatorv1.AdminServiceClient) (*operatorv1.GetStatusResponse, error) {
	return client.GetStatus(ctx, &operatorv1.GetStatusRequest{MaxPairs: maxPairs, AllPairs: true})
}

// allUp is what status and --wait mean by it.
func allUp(f *operatorv1.GetStatusResponse) bool {
	return f.GetPairsUp() >= f.GetPairsWanted() && f.GetHostsConnected() >= f.GetHosts() && inOrder(f.GetStore())
}

// inOrder says whether the store takes changes.
func inOrder(st *operatorv1.StoreStatus) bool {
	return !st.GetUnreachable() && len(st.GetAlarms()) == 0
}

// await asks until all is up. A controller that is away meanwhile is waited for, too. When the time
// is over the last answer is returned, or, without one, the last error.
func (s *status) await(ctx, bounded context.Context, client operatorv1.AdminServiceClient) (*operatorv1.GetStatusResponse, error) {
	p := s.progress()
	defer p.done()
	tick := time.NewTicker(s.Poll)
	defer tick.Stop()
	var last *operatorv1.GetStatusResponse
	var lastErr error
	for {
		fleet, err := ask(bounded, client)
		switch {
		case err == nil && allUp(fleet):
			return fleet, nil
		case err == nil:
			last, lastErr = fleet, nil
			p.show("%d of %s up, %d of %d hosts connected", fleet.GetPairsUp(), pairs(fleet.GetPairsWanted()), fleet.GetHostsConnected(), fleet.GetHosts())
		case isTimeout(err): // says nothing about the fleet: what was known before still counts
		case exit.Status(err) != exit.Unavailable:
			return nil, err
		default:
			last, lastErr = nil, err
			p.show("no answer from the controller")
		}
		select {
		case <-tick.C:
			continue
		case <-bounded.Done():
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if last == nil && lastErr == nil {
			return nil, bounded.Err()
		}
		return last, lastErr
	}
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[*fault.Error](fault.FromError(err))
	return ok && e.Kind() == fault.DeadlineExceeded
}

func (s *status) show(f *operatorv1.GetStatusResponse) error {
	if *s.output == "json" {
		if !s.all {
			f.Pairs = notUp(f.GetPairs())
		}
		return s.printJSON(f)
	}
	if err := s.summary(f).Write(s.Stdout, s.colour()); err != nil {
		return err
	}
	for _, w := range f.GetWarnings() {
		line := render.Warning.Paint("warning: "+render.Clean(w), s.colour()) + "\n"
		if err := s.print([]byte(line)); err != nil {
			return err
		}
	}
	return s.pairs(f)
}

func notUp(list []*operatorv1.PairStatus) []*operatorv1.PairStatus {
	var down []*operatorv1.PairStatus
	for _, p := range list {
		if !p.GetUp() {
			down = append(down, p)
		}
	}
	return down
}

// summary is the fleet in a few lines.
func (s *status) summary(f *operatorv1.GetStatusResponse) render.Table {
	c, st := f.GetController(), f.GetStore()
	style := func(good bool) render.Style {
		if good {
			return render.Good
		}
		return render.Bad
	}
	row := func(name, text string, style render.Style) []render.Cell {
		return []render.Cell{{Text: name, Style: render.Bold}, {Text: text, Style: style}}
	}
	t := render.Table{}
	up := ""
	if c.GetStartTime() != nil {
		up = ", up " + render.Age(s.Now().Sub(c.GetStartTime().AsTime()))
	}
	t.Rows = append(t.Rows, row("Controller", fmt.Sprintf("%s, version %s%s, fleet %s", c.GetName(), c.GetVersion(), up, c.GetTrustDomain()), render.Plain))
	if c.GetPlanner() == "" {
		t.Rows = append(t.Rows, row("Planner", "none: nobody makes or renews keys now", render.Bad))
	}
	t.Rows = append(t.Rows, row("Store", storeLine(st), style(inOrder(st))))
	t.Rows = append(t.Rows,
		row("Hosts", fmt.Sprintf("%d of %d connected", f.GetHostsConnected(), f.GetHosts()), style(f.GetHostsConnected() >= f.GetHosts())),
		row("Pairs", pairsLine(f), style(f.GetPairsUp() >= f.GetPairsWanted())))
	if line := s.alone(f); line != "" {
		t.Rows = append(t.Rows, row("Alone", line, render.Plain))
	}
	return t
}

func storeLine(st *operatorv1.StoreStatus) string {
	if st.GetUnreachable() {
		return fmt.Sprintf("revision %d; etcd does not answer", st.GetRevision())
	}
	line := fmt.Sprintf("revision %d, %s of %s", st.GetRevision(), render.Bytes(st.GetDbSize()), render.Bytes(st.GetQuota()))
	for _, alarm := range st.GetAlarms() {
		line += ", alarm " + alarm
	}
	return line
}

func pairsLine(f *operatorv1.GetStatusResponse) string {
	if f.GetPairsWanted() == 0 {
		return "none is wanted: no policy selects two hosts"
	}
	return fmt.Sprintf("%d of %d up", f.GetPairsUp(), f.GetPairsWanted())
}

// alone says how long traffic goes on if the controller is gone from now on: until the first pair that
// is up ends.
func (s *status) alone(f *operatorv1.GetStatusResponse) string {
	var first *operatorv1.PairStatus
	seen := uint64(0)
	for _, p := range f.GetPairs() {
		if !p.GetUp() || p.GetHardTime() == nil {
			continue
		}
		seen++
		if first == nil || p.GetHardTime().AsTime().Before(first.GetHardTime().AsTime()) {
			first = p
		}
	}
	if first == nil {
		return ""
	}
	line := fmt.Sprintf("without a controller traffic goes on for %s, until %s – %s ends",
		render.Age(first.GetHardTime().AsTime().Sub(s.Now())), first.GetHostA(), first.GetHostB())
	if seen < f.GetPairsUp() {
		line += fmt.Sprintf(" (first of %d pairs that were looked at)", seen)
	}
	return line
}

// pairs lists the pairs that are not up, with --all every pair.
func (s *status) pairs(f *operatorv1.GetStatusResponse) error {
	list := f.GetPairs()
	header := []string{"PAIR", "POLICY", "STATE", "GEN", "ENDS-IN", "REASON"}
	if !s.all {
		list = notUp(list)
		header = []string{"NOT UP", "POLICY", "REASON"}
	}
	if len(list) == 0 {
		return nil
	}
	t := render.Table{Header: header}
	for _, p := range list {
		name := render.Cell{Text: p.GetHostA() + " – " + p.GetHostB()}
		policy, reason := render.Cell{Text: p.GetPolicy()}, render.Cell{Text: p.GetReason()}
		if !s.all {
			t.Rows = append(t.Rows, []render.Cell{name, policy, reason})
			continue
		}
		state := render.Cell{Text: "up", Style: render.Good}
		if !p.GetUp() {
			state = render.Cell{Text: "down", Style: render.Bad}
		}
		ends := render.Cell{}
		if p.GetHardTime() != nil {
			ends.Text = render.Age(p.GetHardTime().AsTime().Sub(s.Now()))
		}
		t.Rows = append(t.Rows, []render.Cell{name, policy, state, {Text: fmt.Sprint(p.GetGeneration())}, ends, reason})
	}
	if err := s.print([]byte("\n")); err != nil {
		return err
	}
	if err := t.Write(s.Stdout, s.colour()); err != nil {
		return err
	}
	if down := f.GetPairsWanted() - min(f.GetPairsUp(), f.GetPairsWanted()); uint64(len(notUp(f.GetPairs()))) < down {
		s.say("%d more pairs are not up", down-uint64(len(notUp(f.GetPairs()))))
	}
	return nil
}
