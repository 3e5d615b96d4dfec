package main

import (
	"github.com/spf13/cobra"

	"sallyport.dev/sallyport/deploy/lab"
)

// newLabCommand is `sallyport lab`.
func newLabCommand() *cobra.Command { return lab.Command() }
