package main

import (
	"github.com/spf13/cobra"

	"mop/runtime/checkpoint/llama2c"
	"mop/runtime/config"
)

func importLlama2c() *cobra.Command {
	var weights, tok, out, hfType string
	c := &cobra.Command{
		Use:     "llama2c --weights F.bin --tokenizer F --out DIR",
		Short:   "Import a float32 checkpoint of llama2.c, version 0 or 1",
		Example: "  mop import llama2c --weights stories260K.bin --tokenizer tok512.bin --out ./stories260K",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "weights", "tokenizer", "out"); err != nil {
				return err
			}
			if err := config.CheckHFType(hfType); err != nil {
				return usage("%v", err)
			}
			return llama2c.ImportFiles(weights, tok, out, hfType)
		},
	}
	f := c.Flags()
	f.StringVar(&weights, "weights", "", "llama2.c weight file")
	f.StringVar(&tok, "tokenizer", "", "its tokenizer.bin or tokenizer.model")
	f.StringVar(&out, "out", "", "directory to write")
	hfTypeFlag(c, &hfType)
	return c
}
