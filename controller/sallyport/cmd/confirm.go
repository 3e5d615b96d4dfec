package cmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
)

func (a *app) confirmDeletionsCommand() *cobra.Command {
	var host string
	var all bool
	c := &cobra.Command{
		Use:   "confirm-deletions (--host NAME | --all)",
		Short: "Let go of keys that nobody wants any more",
		Long: `The controller deletes the security associations of a pair of hosts when no policy wants the pair any
more. When that hits more than a tenth of a host's associations and no change by an operator explains
it (a policy or host that was lost from the store, not deleted by a command), it waits, since the store
may be wrong: sallyport status and the event DeletionsHeld say so, and traffic goes on until the keys
end.

If the deletions are meant, confirm them, for the pairs of one host or for all. If not, apply the policy
or host that is missing. Hosts that are gone have no name: use --all. Only what waits now is confirmed.`,
		Example: `  sallyport status
  sallyport confirm-deletions --host web-1
  sallyport confirm-deletions --all`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			request := &operatorv1.ConfirmDeletionsRequest{Target: &operatorv1.ConfirmDeletionsRequest_All{All: true}}
			if !all {
				request.Target = &operatorv1.ConfirmDeletionsRequest_Host{Host: host}
			}
			return a.confirmDeletions(c.Context(), request)
		},
	}
	c.Flags().StringVar(&host, "host", "", "the pairs of a host")
	c.Flags().BoolVar(&all, "all", false, "every pair")
	c.MarkFlagsMutuallyExclusive("all", "host")
	c.MarkFlagsOneRequired("all", "host")
	mustComplete(c, "host", a.completeNames(operatorv1.Kind_KIND_HOST))
	return c
}

func (a *app) confirmDeletions(ctx context.Context, request *operatorv1.ConfirmDeletionsRequest) error {
	ctx, cancel := a.within(ctx, callTimeout)
	defer cancel()
	admin, err := a.admin()
	if err != nil {
		return err
	}
	response, err := admin.ConfirmDeletions(ctx, request)
	if err != nil {
		return err
	}
	if response.GetPairs() == 0 {
		return a.print([]byte("no deletion waits for confirmation\n"))
	}
	return a.print(fmt.Appendf(nil, "deleting the keys of %s\n", pairs(response.GetPairs())))
}
