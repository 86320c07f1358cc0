package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/tokenizer"
)

func initCommand(o *options) *cobra.Command {
	var from, tok, out string
	c := &cobra.Command{
		Use:   "init --config FILE --tokenizer DIR --out DIR",
		Short: "Write an untrained model of a config's shape, for mop recover --full",
		Long: "Write a model with seeded random weights of the type that the config names, ready to be\n" +
			"trained from nothing by mop recover --full. Deviations are the config's initializer_range;\n" +
			"o_proj and down_proj have 1/sqrt(2 layers) of it.",
		Example: "  mop init --config config.json --tokenizer ./tokenizer --seed 1 --out ./untrained\n" +
			"  mop recover --full --model ./untrained --data stories.txt --split '<|endoftext|>' --out ./trained --lr 3e-3",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "config", "tokenizer", "out"); err != nil {
				return err
			}
			shape, err := config.Load(from)
			if err != nil {
				return err
			}
			t, err := tokenizer.Open(tok)
			if err != nil {
				return err
			}
			if t.Vocab() > shape.VocabSize {
				return fmt.Errorf("%s: %d ids, the model of %s has only %d", tok, t.Vocab(), from, shape.VocabSize)
			}
			return checkpoint.WriteUntrained(out, shape, o.seed, storedType(shape), checkpoint.SaveOptions{Files: checkpoint.SideFiles(tok)})
		},
	}
	f := c.Flags()
	f.StringVar(&from, "config", "", "config.json of the model's shape")
	f.StringVar(&tok, "tokenizer", "", "directory of the tokenizer, whose files are carried along")
	f.StringVar(&out, "out", "", "directory to write")
	return c
}
