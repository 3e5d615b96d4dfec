package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/controller/sallyport/follow"
	"sallyport.dev/sallyport/controller/sallyport/render"
)

// rekey is one call of the rekey command.
type rekey struct {
	*app
	all          bool
	policy, host string
	wait         bool
}

func (a *app) rekeyCommand() *cobra.Command {
	r := rekey{app: a}
	c := &cobra.Command{
		Use:   "rekey (--all | --policy NAME | --host NAME)",
		Short: "Give pairs of hosts new keys",
		Long: `Make a new generation of security associations for every pair that is selected. Traffic goes on: the
old ones are dropped when the new ones carry it.`,
		Example: `  sallyport rekey --all --wait
  sallyport rekey --policy mesh
  sallyport rekey --host web-1 --wait --timeout 1m`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return r.run(c.Context()) },
	}
	c.Flags().BoolVar(&r.all, "all", false, "every pair")
	c.Flags().StringVar(&r.policy, "policy", "", "the pairs of a policy")
	c.Flags().StringVar(&r.host, "host", "", "the pairs of a host")
	c.Flags().BoolVar(&r.wait, "wait", false, "wait until the new generation of each pair carries traffic")
	c.MarkFlagsMutuallyExclusive("all", "policy", "host")
	c.MarkFlagsOneRequired("all", "policy", "host")
	mustComplete(c, "policy", a.completeNames(operatorv1.Kind_KIND_POLICY))
	mustComplete(c, "host", a.completeNames(operatorv1.Kind_KIND_HOST))
	return c
}

func (r *rekey) request() *operatorv1.RekeyRequest {
	switch {
	case r.policy != "":
		return &operatorv1.RekeyRequest{Target: &operatorv1.RekeyRequest_Policy{Policy: r.policy}}
	case r.host != "":
		return &operatorv1.RekeyRequest{Target: &operatorv1.RekeyRequest_Host{Host: r.host}}
	default:
		return &operatorv1.RekeyRequest{Target: &operatorv1.RekeyRequest_All{All: true}}
	}
}

// selector selects the associations of the pairs; of a host, the one of each pair that it sends on.
func (r *rekey) selector() string {
	switch {
	case r.policy != "":
		return "policy=" + r.policy
	case r.host != "":
		return "source=" + r.host
	default:
		return ""
	}
}

func (r *rekey) run(ctx context.Context) error {
	limit := callTimeout
	if r.wait {
		limit = waitTimeout
	}
	bounded, cancel := r.within(ctx, limit)
	defer cancel()
	admin, err := r.admin()
	if err != nil {
		return err
	}
	resources, err := r.resources()
	if err != nil {
		return err
	}
	revision := int64(0)
	if r.wait {
		if revision, err = now(bounded, resources, r.selector()); err != nil {
			return err
		}
	}
	response, err := admin.Rekey(bounded, r.request())
	if err != nil {
		return err
	}
	if !r.wait || response.GetPairs() == 0 {
		return r.print(fmt.Appendf(nil, "rekeying %s\n", pairs(response.GetPairs())))
	}
	return r.await(ctx, bounded, resources, response, revision)
}

// now returns the store's revision: what is rekeyed afterwards changes after it.
func now(ctx context.Context, c follow.Client, selector string) (int64, error) {
	page, err := c.List(ctx, &operatorv1.ListRequest{
		Kind: operatorv1.Kind_KIND_SECURITY_ASSOCIATION, Selector: selector, PageSize: 1,
	})
	return page.GetRevision(), err
}

func pairs(n uint64) string {
	if n == 1 {
		return "1 pair"
	}
	return fmt.Sprintf("%d pairs", n)
}

// errDone ends the watch when every pair is done.
var errDone = errors.New("done")

// await counts pairs whose new generation is established.
func (r *rekey) await(ctx, bounded context.Context, c follow.Client, response *operatorv1.RekeyResponse, revision int64) error {
	begun := r.Now()
	p := r.progress()
	defer p.done()
	done := make(map[[2]string]bool)
	wanted := response.GetPairs()
	p.show("0 of %s rekeyed", pairs(wanted))
	f := &follow.Follower{
		Client: c, Kind: operatorv1.Kind_KIND_SECURITY_ASSOCIATION, Selector: r.selector(), Jitter: r.Jitter,
	}
	f.StartAt(revision)
	err := f.Run(bounded, func(c follow.Change) error {
		if pair, ok := renewed(c, response.GetRekeyBefore().AsTime()); ok {
			done[pair] = true
			p.show("%d of %s rekeyed", len(done), pairs(wanted))
		}
		if uint64(len(done)) >= wanted {
			return errDone
		}
		return nil
	})
	p.done()
	switch {
	case errors.Is(err, errDone):
		return r.print(fmt.Appendf(nil, "rekeyed %s in %s\n", pairs(wanted), render.Age(r.Now().Sub(begun))))
	case ctx.Err() == nil && bounded.Err() != nil:
		return exit.Errorf(exit.Unavailable, "%d of %s rekeyed in %s; the others go on: sallyport status says what holds them up",
			len(done), pairs(wanted), render.Age(r.Now().Sub(begun)))
	default:
		return err
	}
}

// renewed returns the pair of an association that is of a new generation and carries traffic.
func renewed(c follow.Change, since time.Time) ([2]string, bool) {
	sa := c.Resource.GetSecurityAssociation()
	s := sa.GetStatus()
	created := sa.GetMetadata().GetCreateTime()
	if c.Type == operatorv1.ChangeType_CHANGE_TYPE_DELETED || s.GetPhase() != render.PhaseEstablished ||
		created == nil || created.AsTime().Before(since) {
		return [2]string{}, false
	}
	return [2]string{min(s.GetSource(), s.GetDestination()), max(s.GetSource(), s.GetDestination())}, true
}
