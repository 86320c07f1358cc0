package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// importFormats is the table of the formats that mop import reads. A new format is one
// file import_*.go with its flags and one call, and one line here; its reader is a
// package below runtime/checkpoint.
func importFormats() []*cobra.Command {
	return []*cobra.Command{
		importLlama2c(),
		importGGUF(),
	}
}

func importCommand(*options) *cobra.Command {
	c := &cobra.Command{
		Use:   "import",
		Short: "Convert another program's model into a Hugging Face directory",
		Args:  cobra.ArbitraryArgs,
	}
	var names []string
	for _, f := range importFormats() {
		c.AddCommand(f)
		names = append(names, f.Name())
	}
	c.RunE = oneOf("a format, " + strings.Join(names, " or "))
	return c
}
