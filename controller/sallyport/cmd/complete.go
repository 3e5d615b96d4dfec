package cmd

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/follow"
	"sallyport.dev/sallyport/controller/sallyport/resource"
)

// names lists the names of a kind for completion. Errors give no names: the shell cannot show them.
func (a *app) names(ctx context.Context, kind operatorv1.Kind) []string {
	client, err := a.resources()
	if err != nil {
		return nil
	}
	if ctx == nil {
		ctx = context.Background() // cobra gives none to some completions
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	all, err := follow.List(ctx, client, kind, "")
	if err != nil {
		return nil
	}
	var names []string
	for _, r := range all.GetResources() {
		names = append(names, resource.Metadata(r).GetName())
	}
	return names
}

// completeNames completes the names of one kind, for a flag.
func (a *app) completeNames(kind operatorv1.Kind) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return startingWith(a.names(c.Context(), kind), prefix, nil), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeKinds completes a kind and then names of it.
func (a *app) completeKinds(word func(resource.Kind) string, usable func(resource.Kind) bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		const directive = cobra.ShellCompDirectiveNoFileComp
		if len(args) > 0 {
			k, ok := resource.Lookup(args[0])
			if !ok {
				return nil, directive
			}
			return startingWith(a.names(c.Context(), k.Enum), prefix, args[1:]), directive
		}
		var kinds []string
		for _, k := range resource.Kinds() {
			if usable(k) {
				kinds = append(kinds, word(k))
			}
		}
		return startingWith(kinds, prefix, nil), directive
	}
}

func startingWith(names []string, prefix string, taken []string) []string {
	var found []string
	for _, n := range names {
		if strings.HasPrefix(n, prefix) && !slices.Contains(taken, n) {
			found = append(found, n)
		}
	}
	return found
}
