package main

import (
	"github.com/spf13/cobra"

	"mop/runtime/open"
)

// probeCommand answers another mop binary that asks for the GPUs that this one sees.
func probeCommand() *cobra.Command {
	return &cobra.Command{
		Use:    open.ProbeCommand,
		Hidden: true,
		Args:   exactly(0),
		RunE:   func(c *cobra.Command, _ []string) error { return open.WriteProbe(c.OutOrStdout()) },
	}
}
