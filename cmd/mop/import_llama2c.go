package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"mop/runtime/checkpoint"
	"mop/runtime/checkpoint/gguf"
	"mop/runtime/checkpoint/llama2c"
	"mop/runtime/config"
	"mop/runtime/modelcard"
	"mop/runtime/tokenizer"
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
			src, err := llama2c.Open(weights)
			if err != nil {
				return err
			}
			defer src.Close()
			t, err := tokenizer.OpenFile(tok)
			if err != nil {
				return err
			}
			if n := src.Config().VocabSize; t.Vocab() != n {
				return fmt.Errorf("%s: want %d tokens, the vocabulary of the model in %s, got %d", tok, n, weights, t.Vocab())
			}
			var text, settings bytes.Buffer
			if err := tokenizer.WriteJSON(&text, t); err != nil {
				return fmt.Errorf("%s: %w", tok, err)
			}
			if err := tokenizer.WriteSettings(&settings, t, src.Config().MaxPositions); err != nil {
				return err
			}
			data := map[string][]byte{"tokenizer.json": text.Bytes(), "tokenizer_config.json": settings.Bytes()}
			model, err := gguf.SentencePieceModel(t)
			if err == nil {
				data["tokenizer.model"] = model
			} else if errors.Is(err, gguf.ErrTokenizer) {
				slog.Warn("no tokenizer.model is written, which converters of other programs may want", "reason", err)
			} else {
				return fmt.Errorf("%s: %w", tok, err)
			}
			return llama2c.Import(weights, out, hfType, checkpoint.SaveOptions{Data: data, Card: &modelcard.Card{
				Title: modelcard.Name(weights), Origin: fmt.Sprintf("Imported by mop from `%s` and `%s`, files of llama2.c.", modelcard.Name(weights), modelcard.Name(tok))}})
		},
	}
	f := c.Flags()
	f.StringVar(&weights, "weights", "", "llama2.c weight file")
	f.StringVar(&tok, "tokenizer", "", "its tokenizer.bin or tokenizer.model")
	f.StringVar(&out, "out", "", "directory to write")
	hfTypeFlag(c, &hfType)
	return c
}
