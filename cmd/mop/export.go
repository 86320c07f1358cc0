package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// exportFormats is the table of the formats that mop export writes. A new format is one
// file export_*.go with its flags and one call, and one line here; its writer is a
// package below runtime/checkpoint.
func exportFormats(o *options) []*cobra.Command {
	return []*cobra.Command{
		exportGGUF(o),
		exportNemotronNAS(),
	}
}

func exportCommand(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "export",
		Short: "Write a model in another program's format",
		Args:  cobra.ArbitraryArgs,
	}
	var names []string
	for _, f := range exportFormats(o) {
		c.AddCommand(f)
		names = append(names, f.Name())
	}
	c.RunE = oneOf("a format, " + strings.Join(names, " or "))
	return c
}
