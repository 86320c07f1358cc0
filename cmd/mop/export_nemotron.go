package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"mop/runtime/checkpoint"
	"mop/runtime/modelcard"
)

func exportNemotronNAS() *cobra.Command {
	var model, out string
	c := &cobra.Command{
		Use:   "nemotron-nas --model DIR --out DIR",
		Short: "Write a Hugging Face directory in the form of Nemotron-NAS",
		Long: `Write a Hugging Face directory in the form of Nemotron-NAS (DeciLM), which vLLM runs by
its own code. All layers with attention must have the same number of query heads; their KV
heads and the widths of their MLPs may differ, and blocks may be absent. Any other model is
refused with the name of the layer: mop's own directories load in vLLM too.`,
		Example: "  mop export nemotron-nas --model ./pruned/0.40 --out ./pruned-nas",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model", "out"); err != nil {
				return err
			}
			src, err := checkpoint.Open(model)
			if err != nil {
				return err
			}
			defer src.Close()
			name := modelcard.Name(model)
			return checkpoint.ExportNemotronNAS(src, out, checkpoint.SaveOptions{Files: checkpoint.SideFiles(model),
				Card: &modelcard.Card{Title: name, Origin: fmt.Sprintf("Exported by mop from `%s` in the form of Nemotron-NAS.", name)}})
		},
	}
	f := c.Flags()
	f.StringVar(&model, "model", "", "model directory")
	f.StringVar(&out, "out", "", "directory to write")
	return c
}
