package cmd

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	operatorv1 "sallyport.dev/sallyport/api/sallyport/operator/v1"
	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/controller/sallyport/render"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print this program's version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return a.print(fmt.Appendf(nil, "sallyport %s %s %s/%s\n", a.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH))
		},
	}
}

func (a *app) caCommand() *cobra.Command {
	return group("ca", "Rotate the fleet's certificate authority", a.caRotateCommand())
}

func (a *app) caRotateCommand() *cobra.Command {
	var step string
	var force bool
	c := &cobra.Command{
		Use:   "rotate --step STEP",
		Short: "Take one step of a rotation",
		Long: `Rotate the certificate authority, in three steps with time between them:

  prepare    makes a new root and puts it into every trust bundle; the old one still signs
  activate   signs with the new root; certificates of the old one stay good
  finish     drops the old roots; refused while hosts hold certificates of them, unless --force`,
		Example: `  sallyport ca rotate --step prepare`,
		Args:    cobra.NoArgs,
	}
	steps := map[string]operatorv1.RotateStep{
		"prepare": operatorv1.RotateStep_ROTATE_STEP_PREPARE, "activate": operatorv1.RotateStep_ROTATE_STEP_ACTIVATE,
		"finish": operatorv1.RotateStep_ROTATE_STEP_FINISH,
	}
	c.Flags().StringVar(&step, "step", "", "prepare, activate or finish")
	c.Flags().BoolVar(&force, "force", false, "finish although hosts hold certificates of an old root: they must join anew")
	output := outputFlag(c, "table", "json")
	if err := c.MarkFlagRequired("step"); err != nil {
		panic(err) // the flag is defined above
	}
	mustComplete(c, "step", cobra.FixedCompletions([]string{"prepare", "activate", "finish"}, cobra.ShellCompDirectiveNoFileComp))
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, ok := steps[step]
		if !ok {
			return exit.Errorf(exit.Usage, "--step %q: want prepare, activate or finish", step)
		}
		return a.rotate(c.Context(), &operatorv1.RotateCARequest{Step: s, Force: force}, *output)
	}
	return c
}

func (a *app) rotate(ctx context.Context, request *operatorv1.RotateCARequest, output string) error {
	client, err := a.admin()
	if err != nil {
		return err
	}
	ctx, cancel := a.within(ctx, callTimeout)
	defer cancel()
	response, err := client.RotateCA(ctx, request)
	if err != nil {
		return err
	}
	if output == "json" {
		return a.printJSON(response)
	}
	t := render.Table{Header: []string{"ROOT", "SIGNS", "ENDS", "SHA-256 OF ITS KEY"}}
	for _, r := range response.GetRoots() {
		signs := render.Cell{Text: "no"}
		if r.GetActive() {
			signs = render.Cell{Text: "yes", Style: render.Good}
		}
		ends := ""
		if r.GetExpireTime() != nil {
			ends = r.GetExpireTime().AsTime().UTC().Format(time.DateOnly)
		}
		t.Rows = append(t.Rows, []render.Cell{{Text: r.GetId()}, signs, {Text: ends}, {Text: r.GetPublicKeyHash()}})
	}
	return t.Write(a.Stdout, a.colour())
}
