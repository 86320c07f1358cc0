package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/open"
	"mop/runtime/tokenizer"
)

func initCommand(o *options) *cobra.Command {
	var from, tok, out, hfType string
	c := &cobra.Command{
		Use:   "init --config FILE --tokenizer DIR --out DIR",
		Short: "Write an untrained model with a config's shape, for mop recover --full",
		Long: "Write a model with seeded random weights of the type that the config names, to be trained\n" +
			"from scratch by mop recover --full. Their standard deviation is the config's\n" +
			"initializer_range; that of o_proj and down_proj is divided by sqrt(2 layers).",
		Example: "  mop init --config config.json --tokenizer ./tokenizer --seed 1 --out ./untrained\n" +
			"  mop recover --full --model ./untrained --data stories.txt --split '<|endoftext|>' --out ./trained --lr 3e-3",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "config", "tokenizer", "out"); err != nil {
				return err
			}
			if err := config.CheckHFType(hfType); err != nil {
				return usage("%v", err)
			}
			shape, err := config.Load(from)
			if err != nil {
				return err
			}
			shape.SetHFType(hfType)
			shape.LogHFType(out)
			t, err := tokenizer.Open(tok)
			if err != nil {
				return err
			}
			if t.Vocab() > shape.VocabSize {
				return fmt.Errorf("%s: %d tokens, but the model of %s has only %d", tok, t.Vocab(), from, shape.VocabSize)
			}
			return checkpoint.WriteUntrained(out, shape, o.seed, open.StoredType(shape), checkpoint.SaveOptions{Files: checkpoint.SideFiles(tok)})
		},
	}
	f := c.Flags()
	f.StringVar(&from, "config", "", "config.json with the model's shape")
	f.StringVar(&tok, "tokenizer", "", "directory of the tokenizer, whose files are copied")
	f.StringVar(&out, "out", "", "directory to write")
	hfTypeFlag(c, &hfType)
	return c
}
