package cmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/controller/sallyport/manifest"
	"sallyport.dev/sallyport/controller/sallyport/render"
	"sallyport.dev/sallyport/controller/sallyport/resource"
)

// apply is one call of apply or diff.
type apply struct {
	*app
	files    []string
	prune    bool
	selector string
	dryRun   bool
	docs     []*manifest.Document
}

const manifestHelp = `A file holds YAML documents with kind (Host, Policy, ManualPeer, Peer or Credential), metadata and
spec, separated by "---". A directory stands for its *.yaml and *.yml files, "-" for the standard input.`

func (a *app) applyCommand() *cobra.Command {
	p := apply{app: a}
	c := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Create or replace resources from files",
		Long: `Create or replace resources from files.

` + manifestHelp + `

The keys of a ManualPeer and the secret of a Credential are written and never shown: get shows their
fingerprints. Leave them out, or as get shows them, to keep what there is.

Everything is checked before anything is written. Up to 40 resources are written at once or not at
all; of more, each has its own result, and repeating is safe. Nothing is deleted without --prune.`,
		Example: `  sallyport apply -f fleet.yaml
  sallyport apply -f hosts/ -f policies/ --dry-run
  sallyport apply -f fleet.yaml --prune --selector managed=git
  sallyport get policy mesh -o yaml | sallyport apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.run(c.Context(), p.results) },
	}
	p.flags(c)
	c.Flags().BoolVar(&p.dryRun, "dry-run", false, "check and compare only")
	return c
}

func (a *app) diffCommand() *cobra.Command {
	p := apply{app: a, dryRun: true}
	c := &cobra.Command{
		Use:   "diff -f FILE",
		Short: "Show what apply would change",
		Long: `Show what apply would change: labels and spec, as they are and as they would be. Nothing is written.
The exit status is 0 without a difference and 1 with one.

` + manifestHelp,
		Example: `  sallyport diff -f fleet.yaml
  sallyport diff -f fleet.yaml --prune --selector managed=git`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return p.run(c.Context(), p.differences) },
	}
	p.flags(c)
	return c
}

func (p *apply) flags(c *cobra.Command) {
	c.Flags().StringArrayVarP(&p.files, "filename", "f", nil, "file, directory or - for the standard input; may be repeated")
	c.Flags().BoolVar(&p.prune, "prune", false, "delete what of these kinds --selector selects and that are in no file")
	c.Flags().StringVar(&p.selector, "selector", "", "label selector of what --prune may delete")
	c.MarkFlagsRequiredTogether("prune", "selector")
}

func (p *apply) run(ctx context.Context, show func([]*operatorv1.ApplyResponse_Result) error) error {
	if err := p.load(); err != nil {
		return err
	}
	client, err := p.resources()
	if err != nil {
		return err
	}
	ctx, cancel := p.within(ctx, callTimeout)
	defer cancel()
	request := &operatorv1.ApplyRequest{DryRun: p.dryRun, Prune: p.prune, PruneSelector: p.selector}
	for _, d := range p.docs {
		request.Resources = append(request.Resources, d.Resource)
	}
	response, err := client.Apply(ctx, request)
	if err != nil {
		return place(err, p.docs)
	}
	return show(response.GetResults())
}

// load reads the files and refuses kinds that cannot be applied.
func (p *apply) load() error {
	docs, err := p.loadFiles(p.files)
	if err != nil {
		return err
	}
	var errs manifest.Errors
	for _, d := range docs {
		if d.Kind.Appliable {
			continue
		}
		text := "a " + d.Kind.Name + " is the controller's and cannot be applied"
		if d.Kind.Enum == operatorv1.Kind_KIND_JOIN_TOKEN {
			text = "a JoinToken cannot be applied: make one with sallyport join-token create"
		}
		errs = append(errs, &manifest.Error{Position: d.Position, Message: text})
	}
	if len(errs) > 0 {
		return errs
	}
	if len(docs) == 0 && !p.prune {
		return exit.Errorf(exit.Invalid, "no resource in %v", p.files)
	}
	p.docs = docs
	return nil
}

// loadFiles reads manifests and passes their notes on.
func (a *app) loadFiles(files []string) ([]*manifest.Document, error) {
	if len(files) == 0 {
		return nil, exit.Errorf(exit.Usage, "name a file with -f")
	}
	docs, notes, err := manifest.Load(files, a.Stdin)
	for _, n := range notes {
		a.say("%s", n)
	}
	if _, ok := errors.AsType[manifest.Errors](err); err != nil && !ok {
		return nil, &exit.Error{Status: exit.Invalid, Err: err}
	}
	return docs, err
}

// results says what became of each resource.
func (p *apply) results(list []*operatorv1.ApplyResponse_Result) error {
	suffix := ""
	if p.dryRun {
		suffix = " (dry run)"
	}
	failed := 0
	for i, r := range list {
		ref := resource.OfEnum(r.GetKind()).Singular + "/" + r.GetName()
		word, style := actionWord(r.GetAction())
		line := render.Clean(ref) + " " + style.Paint(word, p.colour()) + suffix + "\n"
		if err := p.print([]byte(line)); err != nil {
			return err
		}
		p.warn(ref, r.GetWarnings())
		if r.GetAction() == operatorv1.ApplyAction_APPLY_ACTION_FAILED {
			failed++
			p.say("%s: %s", p.where(i, ref), render.Clean(r.GetError()))
		}
	}
	return outcome(failed, len(list))
}

func (p *apply) warn(ref string, warnings []string) {
	for _, w := range warnings {
		p.say("warning: %s: %s", render.Clean(ref), render.Clean(w))
	}
}

// where names the result at index i by its place in a file; pruned resources have none.
func (p *apply) where(i int, ref string) string {
	if i < len(p.docs) {
		return p.docs[i].Position.String() + ": " + ref
	}
	return ref
}

func outcome(failed, all int) error {
	switch {
	case failed == 0:
		return nil
	case failed == all:
		return exit.Errorf(exit.Failure, "nothing was written: all %d failed", failed)
	default:
		return exit.Errorf(exit.Partial, "%d of %d failed, the others are done: correct and repeat", failed, all)
	}
}

func actionWord(a operatorv1.ApplyAction) (string, render.Style) {
	switch a {
	case operatorv1.ApplyAction_APPLY_ACTION_CREATED:
		return "created", render.Good
	case operatorv1.ApplyAction_APPLY_ACTION_UPDATED:
		return "updated", render.Good
	case operatorv1.ApplyAction_APPLY_ACTION_UNCHANGED:
		return "unchanged", render.Plain
	case operatorv1.ApplyAction_APPLY_ACTION_DELETED:
		return "deleted", render.Warning
	case operatorv1.ApplyAction_APPLY_ACTION_FAILED:
		return "failed", render.Bad
	default:
		return a.String(), render.Plain
	}
}

// differences shows before and after of each resource that would change.
func (p *apply) differences(list []*operatorv1.ApplyResponse_Result) error {
	differ, failed := false, 0
	for i, r := range list {
		ref := resource.OfEnum(r.GetKind()).Singular + "/" + r.GetName()
		p.warn(ref, r.GetWarnings())
		if r.GetAction() == operatorv1.ApplyAction_APPLY_ACTION_FAILED {
			failed++
			p.say("%s: %s", p.where(i, ref), render.Clean(r.GetError()))
			continue
		}
		var before, after []byte
		if r.GetBefore() != nil {
			before = manifest.AppendIntent(nil, r.GetBefore())
		}
		if r.GetAfter() != nil {
			after = manifest.AppendIntent(nil, r.GetAfter())
		}
		text := render.Diff("fleet "+ref, before, p.after(i, ref), after, p.colour())
		differ = differ || len(text) > 0
		if err := p.print(text); err != nil {
			return err
		}
	}
	if failed > 0 {
		return exit.Errorf(exit.Invalid, "%d of %d cannot be applied", failed, len(list))
	}
	if differ {
		return exit.Silent(exit.Failure)
	}
	return nil
}

func (p *apply) after(i int, ref string) string {
	if i < len(p.docs) {
		return fmt.Sprintf("%s:%d %s", p.docs[i].Position.File, p.docs[i].Position.Line, ref)
	}
	return "nothing (pruned) " + ref
}
