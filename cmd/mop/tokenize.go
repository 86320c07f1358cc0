package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"mop/runtime/tokenizer"
)

func tokenizeCommand(*options) *cobra.Command {
	var dir string
	var noBOS, special, decode bool
	c := &cobra.Command{
		Use:     "tokenize --model DIR < text",
		Short:   "Turn text on stdin into token ids, or token ids into text",
		Example: "  printf 'Once upon a time' | mop tokenize --model ./model\n  echo '[1, 403]' | mop tokenize --model ./model --decode",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "model"); err != nil {
				return err
			}
			t, err := tokenizer.Open(dir)
			if err != nil {
				return err
			}
			in, err := io.ReadAll(c.InOrStdin())
			if err != nil {
				return err
			}
			w := c.OutOrStdout()
			if decode {
				var list []*int // nil = null, which is no token id
				if err := json.Unmarshal(in, &list); err != nil || list == nil || slices.Contains(list, nil) {
					return fmt.Errorf("stdin: want a JSON array of token ids, such as [1, 403], got %.80s", bytes.TrimSpace(in))
				}
				tokens := make([]int, len(list))
				for i, id := range list {
					tokens[i] = *id
				}
				text, err := t.Decode(tokens)
				if err != nil {
					return fmt.Errorf("%s: %w", dir, err)
				}
				_, err = w.Write(text)
				return err
			}
			tokens, err := t.Encode(in, tokenizer.EncodeOptions{BOS: !noBOS, EOS: true, Special: special})
			if err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
			if tokens == nil {
				tokens = []int{}
			}
			return json.NewEncoder(w).Encode(tokens)
		},
	}
	f := c.Flags()
	f.StringVar(&dir, "model", "", "directory with a tokenizer")
	f.BoolVar(&noBOS, "no-bos", false, "do not put BOS first")
	f.BoolVar(&special, "special", false, "parse the text of special tokens as these tokens")
	f.BoolVar(&decode, "decode", false, "turn token ids into text: stdin is a JSON array")
	return c
}
