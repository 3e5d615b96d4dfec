//go:build !linux

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

// newLabCommand stands in where there is no lab.
func newLabCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "lab",
		Short:              "Run a local fleet in network namespaces (Linux only)",
		DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("the lab needs Linux: it is made of network namespaces")
		},
	}
}
