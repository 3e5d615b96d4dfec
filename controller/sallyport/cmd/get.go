package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/controller/sallyport/follow"
	"sallyport.dev/sallyport/controller/sallyport/manifest"
	"sallyport.dev/sallyport/controller/sallyport/render"
	"sallyport.dev/sallyport/controller/sallyport/resource"
	"sallyport.dev/sallyport/services/yamldoc"
)

// get is one call of the get command.
type get struct {
	*app
	kind     resource.Kind
	names    []string
	selector string
	output   string
	watch    bool
}

func (a *app) getCommand() *cobra.Command {
	g := get{app: a}
	c := &cobra.Command{
		Use:   "get KIND [NAME ...]",
		Short: "Show resources",
		Long: `Show resources: hosts, policies, peers, ike-sas, credentials, manual-peers, sas (security associations),
events or join-tokens. Keys and secrets are not shown.

-o json is the API's own JSON: a ListResponse, or for a single NAME a Resource. With -w it is a
WatchResponse in each line. -o yaml can be applied again.`,
		Example: `  sallyport get hosts
  sallyport get host web-1 -o yaml
  sallyport get sas -l source=web-1
  sallyport get policies -o json
  sallyport get events -w`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeKinds(func(k resource.Kind) string { return k.Plural }, func(resource.Kind) bool { return true }),
	}
	output := outputFlag(c, "table", "wide", "json", "yaml", "name")
	c.Flags().BoolVarP(&g.watch, "watch", "w", false, "go on with changes until Ctrl-C")
	c.Flags().StringVarP(&g.selector, "selector", "l", "", `label selector, for example "role=web,site in (a,b)"`)
	c.RunE = func(c *cobra.Command, args []string) error {
		var err error
		if g.kind, g.names, err = parseRefs(args); err != nil {
			return err
		}
		if g.selector != "" && len(g.names) > 0 {
			return exit.Errorf(exit.Usage, "a name and -l exclude each other")
		}
		g.output = *output
		return g.run(c.Context())
	}
	return c
}

// parseRefs reads "KIND [NAME ...]" or "KIND/NAME ...", all of one kind.
func parseRefs(args []string) (resource.Kind, []string, error) {
	word, name, slash := strings.Cut(args[0], "/")
	kind, ok := resource.Lookup(word)
	if !ok {
		hint := yamldoc.Suggest(word, kindWords())
		if hint == "" {
			hint = ": there are " + strings.Join(plurals(), ", ")
		}
		return kind, nil, exit.Errorf(exit.Usage, "there is no kind %q%s", word, hint)
	}
	if !slash {
		return kind, unique(args[1:]), nil
	}
	names := []string{name}
	for _, arg := range args[1:] {
		word, name, slash := strings.Cut(arg, "/")
		if k, ok := resource.Lookup(word); !slash || !ok || k.Enum != kind.Enum {
			return kind, nil, exit.Errorf(exit.Usage, "%q: want %s/NAME like the first", arg, kind.Singular)
		}
		names = append(names, name)
	}
	return kind, unique(names), nil
}

func plurals() []string {
	var words []string
	for _, k := range resource.Kinds() {
		words = append(words, k.Plural)
	}
	return words
}

func kindWords() []string {
	var words []string
	for _, k := range resource.Kinds() {
		words = append(words, k.Plural, k.Singular)
	}
	return words
}

func unique(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func (g *get) run(ctx context.Context) error {
	client, err := g.resources()
	if err != nil {
		return err
	}
	if g.watch {
		return g.follow(ctx, client)
	}
	ctx, cancel := g.within(ctx, callTimeout)
	defer cancel()
	if len(g.names) == 0 {
		all, err := follow.List(ctx, client, g.kind.Enum, g.selector)
		if err != nil {
			return err
		}
		return g.show(all)
	}
	return g.byName(ctx, client)
}

// byName shows the named resources that there are, and fails when one was missing.
func (g *get) byName(ctx context.Context, client operatorv1.ResourceServiceClient) error {
	found := &operatorv1.ListResponse{}
	var missing error
	for _, name := range g.names {
		r, err := client.Get(ctx, &operatorv1.GetRequest{Kind: g.kind.Enum, Name: name})
		if err != nil && exit.Status(err) != exit.NotFound {
			return err
		}
		if err != nil {
			missing = errors.Join(missing, fmt.Errorf("there is no %s %q%s", g.kind.Singular, name, yamldoc.Suggest(name, g.app.names(ctx, g.kind.Enum))))
			continue
		}
		found.Resources = append(found.Resources, r.GetResource())
	}
	if len(found.GetResources()) > 0 {
		show := func() error { return g.show(found) }
		if g.output == "json" && len(g.names) == 1 {
			show = func() error { return g.printJSON(found.GetResources()[0]) }
		}
		if err := show(); err != nil {
			return err
		}
	}
	if missing != nil {
		return &exit.Error{Status: exit.NotFound, Err: missing}
	}
	return nil
}

// show writes a list as -o says.
func (g *get) show(all *operatorv1.ListResponse) error {
	switch g.output {
	case "json":
		return g.printJSON(all)
	case "yaml":
		var text []byte
		for i, r := range all.GetResources() {
			if i > 0 {
				text = append(text, "---\n"...)
			}
			text = manifest.Append(text, r)
		}
		return g.print(text)
	case "name":
		for _, r := range all.GetResources() {
			if err := g.print([]byte(resource.Ref(r) + "\n")); err != nil {
				return err
			}
		}
		return nil
	}
	list := g.sorted(all.GetResources())
	if len(list) == 0 {
		g.say("no %s", g.kind.Plural)
		return nil
	}
	columns := render.ColumnsOf(g.kind, g.output == "wide", g.Now())
	table := render.Table{Header: columns.Header()}
	for _, r := range list {
		table.Rows = append(table.Rows, columns.Row(r))
	}
	return table.Write(g.Stdout, g.colour())
}

// sorted puts events in the order of time for people; other kinds come sorted by name.
func (g *get) sorted(list []*operatorv1.Resource) []*operatorv1.Resource {
	if g.kind.Enum != operatorv1.Kind_KIND_EVENT {
		return list
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(x, y *operatorv1.Resource) int {
		return x.GetEvent().GetStatus().GetTime().AsTime().Compare(y.GetEvent().GetStatus().GetTime().AsTime())
	})
	return list
}
