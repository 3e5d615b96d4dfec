package cmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/controller/sallyport/resource"
)

// remove is one call of the delete command.
type remove struct {
	*app
	files         []string
	yes           bool
	dryRun        bool
	ignoreMissing bool
}

// target is one resource to delete.
type target struct {
	kind     resource.Kind
	name     string
	revision int64
}

func (t target) ref() string { return t.kind.Singular + "/" + t.name }

func (a *app) deleteCommand() *cobra.Command {
	d := remove{app: a}
	c := &cobra.Command{
		Use:   "delete (KIND NAME ... | -f FILE)",
		Short: "Delete hosts, policies, peers, credentials, manual peers or join tokens",
		Long: `Delete hosts, policies, peers, credentials, manual peers or join tokens, and all that follows from them: a host's certificate is revoked
and its security associations are deleted everywhere; a policy's too, where no other policy wants them.

On a terminal the deletion of hosts is confirmed, unless --yes says so already.`,
		Example: `  sallyport delete host web-1 web-2
  sallyport delete policy/mesh
  sallyport delete -f fleet.yaml --dry-run`,
		ValidArgsFunction: a.completeKinds(func(k resource.Kind) string { return k.Singular }, func(k resource.Kind) bool { return k.Deletable }),
	}
	c.Flags().StringArrayVarP(&d.files, "filename", "f", nil, "delete the resources of a file, a directory or - for the standard input")
	c.Flags().BoolVarP(&d.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&d.dryRun, "dry-run", false, "check only")
	c.Flags().BoolVar(&d.ignoreMissing, "ignore-not-found", false, "a resource that does not exist is no failure")
	c.RunE = func(c *cobra.Command, args []string) error {
		targets, err := d.targets(args)
		if err != nil {
			return err
		}
		return d.run(c.Context(), targets)
	}
	return c
}

func (d *remove) targets(args []string) ([]target, error) {
	var targets []target
	switch {
	case len(args) > 0 && len(d.files) > 0:
		return nil, exit.Errorf(exit.Usage, "names and -f exclude each other")
	case len(args) > 0:
		kind, names, err := parseRefs(args)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, exit.Errorf(exit.Usage, "which %s? give a name", kind.Singular)
		}
		for _, n := range names {
			targets = append(targets, target{kind: kind, name: n})
		}
	default:
		docs, err := d.loadFiles(d.files)
		if err != nil {
			return nil, err
		}
		for _, doc := range docs {
			targets = append(targets, target{doc.Kind, doc.Name, resource.Metadata(doc.Resource).GetRevision()})
		}
	}
	for _, t := range targets {
		if !t.kind.Deletable {
			return nil, exit.Errorf(exit.Usage, "%s: %s are the controller's and cannot be deleted", t.ref(), t.kind.Plural)
		}
	}
	return targets, nil
}

func (d *remove) run(ctx context.Context, targets []target) error {
	client, err := d.resources()
	if err != nil {
		return err
	}
	if err := d.ask(ctx, targets); err != nil {
		return err
	}
	ctx, cancel := d.within(ctx, callTimeout)
	defer cancel()
	var failures []error
	for _, t := range targets {
		if err := d.one(ctx, client, t); err != nil {
			failures = append(failures, err)
			if status := exit.Status(err); status != exit.NotFound && status != exit.Conflict {
				break // the next would not fare better
			}
		}
	}
	if len(failures) == 0 {
		return nil
	}
	if len(failures) == len(targets) || len(targets) == 1 {
		return failures[0]
	}
	return &exit.Error{Status: exit.Partial, Err: errors.Join(failures...)}
}

// ask confirms the deletion of hosts, when somebody is there to answer.
func (d *remove) ask(ctx context.Context, targets []target) error {
	var hosts []string
	for _, t := range targets {
		if t.kind.Enum == operatorv1.Kind_KIND_HOST {
			hosts = append(hosts, t.name)
		}
	}
	if len(hosts) == 0 || d.yes || d.dryRun || !d.interactive() {
		return nil
	}
	what := fmt.Sprintf("the host %s", hosts[0])
	if len(hosts) > 1 {
		what = fmt.Sprintf("%d hosts (%s, …)", len(hosts), hosts[0])
	}
	return d.confirm(ctx, "Delete "+what+"? The certificate is revoked; to come back it must join anew.")
}

func (d *remove) one(ctx context.Context, client operatorv1.ResourceServiceClient, t target) error {
	_, err := client.Delete(ctx, &operatorv1.DeleteRequest{Kind: t.kind.Enum, Name: t.name, Revision: t.revision, DryRun: d.dryRun})
	switch {
	case err != nil && exit.Status(err) == exit.NotFound && d.ignoreMissing:
		return nil
	case err != nil && exit.Status(err) == exit.NotFound:
		return exit.Errorf(exit.NotFound, "there is no %s %q", t.kind.Singular, t.name)
	case err != nil:
		return exit.Errorf(exit.Status(err), "delete %s: %s", t.ref(), d.words(err))
	}
	suffix := ""
	if d.dryRun {
		suffix = " (dry run)"
	}
	return d.print([]byte(t.ref() + " deleted" + suffix + "\n"))
}
