package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/controller/sallyport/render"
	"sallyport.dev/sallyport/controller/sallyport/resource"
)

func (a *app) joinTokenCommand() *cobra.Command {
	return group("join-token", "Make, list and delete join tokens", a.joinTokenCreate(), a.joinTokenList(), a.joinTokenDelete())
}

// joinToken is one call of join-token create.
type joinToken struct {
	*app
	host, prefix string
	labels       []string
	uses         uint32
	ttl          time.Duration
	output       *string
}

func (a *app) joinTokenCreate() *cobra.Command {
	j := joinToken{app: a}
	c := &cobra.Command{
		Use:   "create (--host NAME | --prefix PREFIX)",
		Short: "Make a join token",
		Long: `Make a join token: permission for one host of that name to join, or for --uses hosts that are named by
a prefix and a part of their key.

The token alone goes to the standard output; it is shown this once. A token for a host that exists
lets the machine join anew; its old key is revoked when that happens.`,
		Example: `  sallyport join-token create --host web-1 --label role=web
  sallyport join-token create --prefix worker- --uses 20 --ttl 1h
  token=$(sallyport join-token create --host web-1)`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return j.run(c.Context()) },
	}
	f := c.Flags()
	f.StringVar(&j.host, "host", "", "name of the one host that may join")
	f.StringVar(&j.prefix, "prefix", "", "any host may join and gets a name that begins so")
	f.StringArrayVar(&j.labels, "label", nil, "label KEY=VALUE of hosts that the token makes; may be repeated")
	f.Uint32Var(&j.uses, "uses", 0, "how many hosts may join (default 1)")
	f.DurationVar(&j.ttl, "ttl", 0, "how long the token is good for (default 24h)")
	j.output = outputFlag(c, "text", "json")
	c.MarkFlagsMutuallyExclusive("host", "prefix")
	c.MarkFlagsOneRequired("host", "prefix")
	mustComplete(c, "host", a.completeNames(operatorv1.Kind_KIND_HOST))
	return c
}

func (j *joinToken) run(ctx context.Context) error {
	labels, err := parseLabels(j.labels)
	if err != nil {
		return err
	}
	spec := &operatorv1.JoinTokenSpec{Host: j.host, NamePrefix: j.prefix, Labels: labels, MaxUses: j.uses}
	if j.ttl < 0 {
		return exit.Errorf(exit.Usage, "--ttl %v: a token cannot end before it begins", j.ttl)
	}
	if j.ttl > 0 {
		spec.ExpireTime = timestamppb.New(j.Now().Add(j.ttl))
	}
	client, err := j.resources()
	if err != nil {
		return err
	}
	ctx, cancel := j.within(ctx, callTimeout)
	defer cancel()
	token := &operatorv1.JoinToken{Metadata: &operatorv1.Metadata{}, Spec: spec}
	response, err := client.Create(ctx, &operatorv1.CreateRequest{
		Resource: &operatorv1.Resource{Kind: &operatorv1.Resource_JoinToken{JoinToken: token}},
	})
	if err != nil {
		return err
	}
	if *j.output == "json" {
		return j.printJSON(response)
	}
	if err := j.print([]byte(response.GetJoinToken() + "\n")); err != nil {
		return err
	}
	j.explain(response)
	return nil
}

// explain prints the agent's command, ready to paste.
func (j *joinToken) explain(r *operatorv1.CreateResponse) {
	server := "CONTROLLER:7443" // on a unix socket nobody says how hosts reach the controller
	if j.conn.Server != "" {
		server = j.conn.Server
	}
	spec := r.GetResource().GetJoinToken().GetSpec()
	who := "host " + spec.GetHost()
	if spec.GetNamePrefix() != "" {
		who = fmt.Sprintf("%d hosts named %s…", spec.GetMaxUses(), spec.GetNamePrefix())
	}
	left := ""
	if end := spec.GetExpireTime(); end != nil {
		left = ", for " + render.Age(end.AsTime().Sub(j.Now()).Round(time.Second))
	}
	// Through a pipe, as others can read the arguments of a process.
	j.say("\nA token for %s%s. On the host, as root:\n\n  echo %s | sallyport-agent run --controller %s --join-token-file /dev/stdin\n",
		render.Clean(who), left, r.GetJoinToken(), server)
}

func parseLabels(pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	labels := make(map[string]string, len(pairs))
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, exit.Errorf(exit.Usage, "--label %q: want KEY=VALUE", p)
		}
		if _, dup := labels[k]; dup {
			return nil, exit.Errorf(exit.Usage, "--label %s is given twice", k)
		}
		labels[k] = v
	}
	return labels, nil
}

func (a *app) joinTokenList() *cobra.Command {
	g := get{app: a}
	c := &cobra.Command{Use: "list", Short: "List join tokens", Args: cobra.NoArgs}
	output := outputFlag(c, "table", "wide", "json", "yaml", "name")
	c.RunE = func(c *cobra.Command, _ []string) error {
		g.kind = resource.OfEnum(operatorv1.Kind_KIND_JOIN_TOKEN)
		g.output = *output
		return g.run(c.Context())
	}
	return c
}

func (a *app) joinTokenDelete() *cobra.Command {
	d := remove{app: a}
	c := &cobra.Command{
		Use: "delete NAME ...", Short: "Delete join tokens: nobody can join with them any more", Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			return startingWith(a.names(c.Context(), operatorv1.Kind_KIND_JOIN_TOKEN), prefix, args), cobra.ShellCompDirectiveNoFileComp
		},
	}
	c.Flags().BoolVar(&d.ignoreMissing, "ignore-not-found", false, "a token that does not exist is no failure")
	c.RunE = func(c *cobra.Command, args []string) error {
		targets, err := d.targets(append([]string{"join-token"}, args...))
		if err != nil {
			return err
		}
		return d.run(c.Context(), targets)
	}
	return c
}
