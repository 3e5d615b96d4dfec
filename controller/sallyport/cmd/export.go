package cmd

import (
	"context"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/controller/sallyport/peerconf"
)

func (a *app) exportCommand() *cobra.Command {
	return group("export", "Write configurations for other programs", a.exportPeerCommand())
}

func (a *app) exportPeerCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "peer NAME",
		Short: "Write the configuration that the other side of a peer needs",
		Long: `Write the configuration that the other side of a peer needs, in a language of strongSwan. Secrets are not in it: a
comment says where they go.`,
		Example: `  sallyport export peer office --format swanctl > office.conf
  sallyport export peer office --format ipsec.conf`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames(operatorv1.Kind_KIND_PEER),
	}
	c.Flags().StringVar(&format, "format", "swanctl", strings.Join(peerconf.Formats(), " or "))
	mustComplete(c, "format", cobra.FixedCompletions(peerconf.Formats(), cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, args []string) error {
		ctx, cancel := a.within(c.Context(), callTimeout)
		defer cancel()
		client, err := a.resources()
		if err != nil {
			return err
		}
		response, err := client.Get(ctx, &operatorv1.GetRequest{Kind: operatorv1.Kind_KIND_PEER, Name: args[0]})
		if err != nil {
			return err
		}
		peer := response.GetResource().GetPeer()
		text, err := peerconf.Write(format, peer, gatewayOf(ctx, client, peer))
		if err != nil {
			return exit.Errorf(exit.Usage, "--format: %v", err)
		}
		return a.print([]byte(text))
	}
	return c
}

// gatewayOf is the outer address of the host that serves a peer; "" when nobody knows it.
func gatewayOf(ctx context.Context, client operatorv1.ResourceServiceClient, p *operatorv1.Peer) string {
	for _, name := range p.GetSpec().GetHosts() {
		response, err := client.Get(ctx, &operatorv1.GetRequest{Kind: operatorv1.Kind_KIND_HOST, Name: name})
		if err != nil {
			continue // it need not exist yet
		}
		h := response.GetResource().GetHost()
		for _, text := range append(h.GetSpec().GetEndpoints(), h.GetStatus().GetObservedAddress()) {
			if at, err := netip.ParseAddrPort(text); err == nil {
				return at.Addr().String()
			}
			if a, err := netip.ParseAddr(text); err == nil {
				return a.String()
			}
		}
	}
	return ""
}
