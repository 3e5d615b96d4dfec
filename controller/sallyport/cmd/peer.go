package cmd

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/exit"
)

func (a *app) peerCommand() *cobra.Command {
	return group("peer", "Act on the IKE SAs of peers, and ask what happened to them",
		a.peerUpCommand(), a.peerDownCommand(), a.peerRekeyCommand(), a.peerWhyCommand())
}

// peers returns the client of the service.
func (a *app) peers() (operatorv1.PeerServiceClient, error) {
	conn, err := a.open()
	if err != nil {
		return nil, err
	}
	return operatorv1.NewPeerServiceClient(conn), nil
}

// peerCall is one command about one peer.
func (a *app) peerCall(c *cobra.Command, do func(ctx context.Context, client operatorv1.PeerServiceClient, name string) error) *cobra.Command {
	c.Args = cobra.ExactArgs(1)
	c.ValidArgsFunction = a.completeNames(operatorv1.Kind_KIND_PEER)
	c.RunE = func(c *cobra.Command, args []string) error {
		client, err := a.peers()
		if err != nil {
			return err
		}
		ctx, cancel := a.within(c.Context(), callTimeout)
		defer cancel()
		return do(ctx, client, args[0])
	}
	return c
}

func (a *app) peerUpCommand() *cobra.Command {
	var child string
	var wait bool
	c := a.peerCall(&cobra.Command{
		Use:   "up NAME",
		Short: "Call a peer and make its children",
		Long: `Call a peer and make its children, where they are not up. A peer that was taken down is called again from here on.
With --wait the command ends when they are up, or says why they are not.`,
		Example: `  sallyport peer up office --wait
  sallyport peer up office --child lab`,
	}, func(ctx context.Context, client operatorv1.PeerServiceClient, name string) error {
		begun := a.Now()
		response, err := client.UpPeer(ctx, &operatorv1.UpPeerRequest{Name: name, Child: child})
		if err != nil {
			return err
		}
		if wait && len(response.GetChildren()) > 0 {
			return a.awaitPeer(ctx, client, name, child, begun)
		}
		if len(response.GetChildren()) == 0 {
			return a.print(fmt.Appendf(nil, "peer/%s is up: %s\n", name, strings.Join(response.GetUp(), ", ")))
		}
		return a.print(fmt.Appendf(nil, "peer/%s is being called for %s\n", name, strings.Join(response.GetChildren(), ", ")))
	})
	c.Flags().StringVar(&child, "child", "", "only this child")
	c.Flags().BoolVar(&wait, "wait", false, "wait until the children are up")
	return c
}

// awaitPeer waits until a peer's children, or the one of that name, are up.
func (a *app) awaitPeer(ctx context.Context, client operatorv1.PeerServiceClient, name, child string, begun time.Time) error {
	resources, err := a.resources()
	if err != nil {
		return err
	}
	tick := time.NewTicker(a.Poll)
	defer tick.Stop()
	for {
		if up, err := childrenUp(ctx, resources, name, child); err == nil && up {
			return a.print(fmt.Appendf(nil, "peer/%s is up\n", name))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			reason := "sallyport peer why " + name + " says more"
			// The limit has passed: one more short question is worth the answer.
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), completionTimeout)
			defer cancel()
			if why, err := client.ExplainPeer(late, &operatorv1.ExplainPeerRequest{Name: name}); err == nil {
				reason = why.GetSummary()
			}
			return exit.Errorf(exit.Unavailable, "peer/%s is not up after %s: %s", name, a.Now().Sub(begun).Round(time.Second), reason)
		}
	}
}

// childrenUp reports whether the peer has its child SAs.
func childrenUp(ctx context.Context, client operatorv1.ResourceServiceClient, name, child string) (bool, error) {
	peer, err := client.Get(ctx, &operatorv1.GetRequest{Kind: operatorv1.Kind_KIND_PEER, Name: name})
	if err != nil {
		return false, err
	}
	if child == "" {
		s := peer.GetResource().GetPeer().GetStatus()
		return s.GetChildrenUp() == s.GetChildren(), nil
	}
	list, err := client.List(ctx, &operatorv1.ListRequest{Kind: operatorv1.Kind_KIND_IKE_SECURITY_ASSOCIATION, Selector: "peer=" + name})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(list.GetResources(), func(r *operatorv1.Resource) bool {
		return slices.ContainsFunc(r.GetIkeSecurityAssociation().GetStatus().GetChildren(),
			func(c *operatorv1.IKESecurityAssociationStatus_Child) bool {
				return c.GetName() == child && c.GetInstalled() == "both"
			})
	}), nil
}

func (a *app) peerDownCommand() *cobra.Command {
	var child string
	c := a.peerCall(&cobra.Command{
		Use:   "down NAME",
		Short: "Delete a peer's IKE SAs and child SAs",
		Long: `Delete a peer's IKE SAs and child SAs. Its traffic is dropped from here on, never sent in clear; nobody calls the
peer until sallyport peer up. It may still call.`,
		Example: `  sallyport peer down office
  sallyport peer down office --child lab`,
	}, func(ctx context.Context, client operatorv1.PeerServiceClient, name string) error {
		r, err := client.DownPeer(ctx, &operatorv1.DownPeerRequest{Name: name, Child: child})
		if err != nil {
			return err
		}
		return a.print(fmt.Appendf(nil, "peer/%s: deleting %s\n", name, sas(r.GetIkeSas(), r.GetChildren())))
	})
	c.Flags().StringVar(&child, "child", "", "only this child")
	return c
}

func (a *app) peerRekeyCommand() *cobra.Command {
	var child string
	var ike bool
	c := a.peerCall(&cobra.Command{
		Use:   "rekey NAME",
		Short: "Give a peer's child SAs, or its IKE SAs, new keys",
		Example: `  sallyport peer rekey office
  sallyport peer rekey office --ike`,
	}, func(ctx context.Context, client operatorv1.PeerServiceClient, name string) error {
		r, err := client.RekeyPeer(ctx, &operatorv1.RekeyPeerRequest{Name: name, Child: child, Ike: ike})
		if err != nil {
			return err
		}
		return a.print(fmt.Appendf(nil, "peer/%s: rekeying %s\n", name, sas(r.GetIkeSas(), r.GetChildren())))
	})
	c.Flags().StringVar(&child, "child", "", "only this child")
	c.Flags().BoolVar(&ike, "ike", false, "the IKE SAs, not the children")
	c.MarkFlagsMutuallyExclusive("child", "ike")
	return c
}

// sas is a number of IKE SAs and child SAs in words.
func sas(ike, children uint32) string {
	var parts []string
	for _, n := range []struct {
		n    uint32
		what string
	}{{ike, "IKE SA"}, {children, "child SA"}} {
		switch {
		case n.n == 1:
			parts = append(parts, "1 "+n.what)
		case n.n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n.n, n.what))
		}
	}
	if len(parts) == 0 {
		return "nothing: there is none"
	}
	return strings.Join(parts, " and ")
}

func (a *app) peerWhyCommand() *cobra.Command {
	return a.peerCall(&cobra.Command{
		Use:   "why NAME",
		Short: "Tell the newest exchanges with a peer in words",
		Long: `Tell the newest exchanges with a peer in words: what was offered, what was chosen, what failed, and what to change on
which side.`,
		Example: `  sallyport peer why office`,
	}, func(ctx context.Context, client operatorv1.PeerServiceClient, name string) error {
		r, err := client.ExplainPeer(ctx, &operatorv1.ExplainPeerRequest{Name: name})
		if err != nil {
			return err
		}
		return a.print([]byte(explanation(r, a.Now().Location())))
	})
}

// explanation writes a peer's record.
func explanation(r *operatorv1.ExplainPeerResponse, zone *time.Location) string {
	var b strings.Builder
	for _, e := range r.GetExchanges() {
		verdict := "ok"
		if !e.GetOk() {
			verdict = "FAILED"
		}
		fmt.Fprintf(&b, "%s  %s, asked by %s: %s\n", e.GetTime().AsTime().In(zone).Format(time.DateTime), e.GetExchange(), e.GetInitiator(), verdict)
		for _, line := range e.GetLines() {
			fmt.Fprintf(&b, "    %s\n", line)
		}
		if e.GetAdvice() != "" {
			fmt.Fprintf(&b, "    → %s\n", e.GetAdvice())
		}
	}
	fmt.Fprintf(&b, "%s\n", r.GetSummary())
	return b.String()
}
