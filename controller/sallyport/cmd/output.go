package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"sallyport.dev/sallyport/controller/sallyport/exit"
	"sallyport.dev/sallyport/controller/sallyport/render"
)

// outputFlag adds -o with its choices, the first being the default.
func outputFlag(c *cobra.Command, choices ...string) *string {
	value := c.Flags().StringP("output", "o", choices[0], "one of "+strings.Join(choices, ", "))
	mustComplete(c, "output", cobra.FixedCompletions(choices, cobra.ShellCompDirectiveNoFileComp))
	previous := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		if !slices.Contains(choices, *value) {
			return fmt.Errorf("-o %q: want one of %s", *value, strings.Join(choices, ", "))
		}
		if previous == nil {
			return nil
		}
		return previous(c, args)
	}
	return value
}

// mustComplete registers a completion; that fails only for a flag that does not exist.
func mustComplete(c *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err)
	}
}

func (a *app) printJSON(m proto.Message) error {
	text, err := render.JSON(m)
	if err != nil {
		return exit.Errorf(exit.Failure, "cannot write as JSON: %w", err)
	}
	return a.print(text)
}

func (a *app) print(text []byte) error {
	_, err := a.Stdout.Write(text)
	return err
}
