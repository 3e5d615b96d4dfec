package cmd

import (
	"context"
	"slices"
	"strings"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/follow"
	"sallyport.dev/sallyport/controller/sallyport/manifest"
	"sallyport.dev/sallyport/controller/sallyport/render"
	"sallyport.dev/sallyport/controller/sallyport/resource"
)

// follow shows what there is and then each change, until Ctrl-C, which is the ordinary end.
func (g *get) follow(ctx context.Context, client operatorv1.ResourceServiceClient) error {
	bounded, cancel := g.within(ctx, 0)
	defer cancel()
	f := &follow.Follower{
		Client: client, Kind: g.kind.Enum, Selector: g.selector, Jitter: g.Jitter,
		Notice: func(err error) {
			what, _, _ := strings.Cut(g.words(err), "\n")
			g.say("sallyport: lost the controller, trying again: %s", what)
		},
	}
	all, err := f.Start(bounded)
	if err != nil {
		return err
	}
	w := &watching{get: g}
	if err := w.start(all); err != nil {
		return err
	}
	err = f.Run(bounded, w.change)
	if ctx.Err() != nil || bounded.Err() != nil {
		return nil
	}
	return err
}

// watching writes changes as -o says. Rows line up with those before, as far as widths are known.
type watching struct {
	*get
	widths []int
}

func (w *watching) start(all *operatorv1.ListResponse) error {
	var list []*operatorv1.Resource
	for _, r := range w.sorted(all.GetResources()) {
		if w.wanted(r) {
			list = append(list, r)
		}
	}
	if w.output == "table" || w.output == "wide" {
		return w.table(operatorv1.ChangeType_CHANGE_TYPE_ADDED, list, true)
	}
	for _, r := range list {
		if err := w.change(follow.Change{Type: operatorv1.ChangeType_CHANGE_TYPE_ADDED, Resource: r, Revision: all.GetRevision()}); err != nil {
			return err
		}
	}
	return nil
}

func (w *watching) wanted(r *operatorv1.Resource) bool {
	return len(w.names) == 0 || slices.Contains(w.names, resource.Metadata(r).GetName())
}

func (w *watching) change(c follow.Change) error {
	if !w.wanted(c.Resource) {
		return nil
	}
	switch w.output {
	case "json":
		text, err := render.JSONLine(&operatorv1.WatchResponse{Type: c.Type, Resource: c.Resource, Revision: c.Revision})
		if err != nil {
			return err
		}
		return w.print(text)
	case "yaml":
		text := append([]byte("---\n"), "# "+changeWord(c.Type)+"\n"...)
		return w.print(manifest.Append(text, c.Resource))
	case "name":
		return w.print([]byte(resource.Ref(c.Resource) + " " + changeWord(c.Type) + "\n"))
	default:
		return w.table(c.Type, []*operatorv1.Resource{c.Resource}, false)
	}
}

// table writes rows. Events only ever come; other kinds have a column that says what happened.
func (w *watching) table(t operatorv1.ChangeType, list []*operatorv1.Resource, header bool) error {
	isEvents := w.kind.Enum == operatorv1.Kind_KIND_EVENT
	if isEvents && t == operatorv1.ChangeType_CHANGE_TYPE_DELETED {
		return nil
	}
	columns := render.ColumnsOf(w.kind, w.output == "wide", w.Now())
	table := render.Table{}
	if header {
		table.Header = columns.Header()
		if !isEvents {
			table.Header = append([]string{"CHANGE"}, table.Header...)
		}
	}
	for _, r := range list {
		row := columns.Row(r)
		if !isEvents {
			word := changeWord(t)
			if header {
				word = "exists"
			}
			row = append([]render.Cell{{Text: word, Style: changeStyle(t)}}, row...)
		}
		table.Rows = append(table.Rows, row)
	}
	if header && !isEvents {
		w.widths = []int{len("changed")}
	}
	err := table.WriteWidths(w.Stdout, w.colour(), w.widths)
	w.widths = table.Widths(w.widths)
	return err
}

func changeWord(t operatorv1.ChangeType) string {
	switch t {
	case operatorv1.ChangeType_CHANGE_TYPE_ADDED:
		return "added"
	case operatorv1.ChangeType_CHANGE_TYPE_MODIFIED:
		return "changed"
	case operatorv1.ChangeType_CHANGE_TYPE_DELETED:
		return "deleted"
	default:
		return t.String()
	}
}

func changeStyle(t operatorv1.ChangeType) render.Style {
	if t == operatorv1.ChangeType_CHANGE_TYPE_DELETED {
		return render.Bad
	}
	return render.Faint
}
