package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/spf13/cobra"

	"mop/runtime/generate"
	"mop/runtime/model"
	"mop/runtime/open"
)

func logitsCommand(o *options) *cobra.Command {
	var dir string
	var asJSON bool
	tokens := intsFlag{min: math.MinInt, want: "token ids"}
	c := &cobra.Command{
		Use:     "logits --model DIR --ids 1,2,3",
		Short:   "Print the logits after each token",
		Example: "  mop logits --model ./model --ids 1,403,9 --json",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model", "ids"); err != nil {
				return err
			}
			m, closeModel, err := o.load(dir)
			if err != nil {
				return err
			}
			defer closeModel()
			cache, err := open.Cache(m.Device(), m.Config, 1, min(len(tokens.values), m.Config.MaxPositions))
			if err != nil {
				return err
			}
			defer cache.Close()
			if err := m.Forward(model.Pass{Cache: cache, Chunks: []model.Chunk{{Slot: 0, Tokens: tokens.values}}}); err != nil {
				return m.Wrap(err)
			}
			w := bufio.NewWriter(c.OutOrStdout())
			write := writeArgmax
			if asJSON {
				write = writeLogits
			}
			rows := make([]int, len(tokens.values))
			for i := range rows {
				rows[i] = i
			}
			if err := m.Logits(rows, func(i int, z []float32) error {
				for token, v := range z {
					if v-v != 0 {
						return m.Wrap(fmt.Errorf("position %d: token %d: %w", i, token, generate.ErrNotFinite))
					}
				}
				return write(w, i, z)
			}); err != nil {
				return err
			}
			if asJSON {
				fmt.Fprintln(w, "]")
			}
			return w.Flush()
		},
	}
	o.weightsFlags(c)
	f := c.Flags()
	f.StringVar(&dir, "model", "", "model directory")
	f.Var(&tokens, "ids", "token ids with commas between them; no BOS is added")
	f.BoolVar(&asJSON, "json", false, "print all logits as JSON, [T][V]")
	return c
}

// writeArgmax writes a line with the token that has the largest logit.
func writeArgmax(w io.Writer, position int, logits []float32) error {
	best := 0
	for token := range logits {
		if logits[token] > logits[best] {
			best = token
		}
	}
	_, err := fmt.Fprintf(w, "%d: argmax token %d, logit %g\n", position, best, logits[best])
	return err
}

// writeLogits writes one row of a JSON array of arrays, without the bracket at its end.
func writeLogits(w io.Writer, position int, logits []float32) error {
	text, err := json.Marshal(logits)
	if err != nil {
		return err
	}
	separator := ","
	if position == 0 {
		separator = "["
	}
	_, err = fmt.Fprintf(w, "%s%s", separator, text)
	return err
}
