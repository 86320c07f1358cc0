package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mop/runtime/checkpoint"
	"mop/runtime/checkpoint/gguf"
	"mop/runtime/checkpoint/llama2c"
	"mop/runtime/tokenizer"
)

func importCommand(*options) *cobra.Command {
	c := &cobra.Command{
		Use:   "import",
		Short: "Convert another program's model into a Hugging Face directory",
		Args:  cobra.ArbitraryArgs,
		RunE:  oneOf("a format, llama2c or gguf"),
	}
	c.AddCommand(importLlama2c(), importGGUF())
	return c
}

func importLlama2c() *cobra.Command {
	var weights, tok, out string
	c := &cobra.Command{
		Use:     "llama2c --weights F.bin --tokenizer F --out DIR",
		Short:   "Import a float32 checkpoint of llama2.c, version 0 or 1",
		Example: "  mop import llama2c --weights stories260K.bin --tokenizer tok512.bin --out ./stories260K",
		Args:    exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := need(c, "weights", "tokenizer", "out"); err != nil {
				return err
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
			return llama2c.Import(weights, out, checkpoint.SaveOptions{Data: map[string][]byte{
				"tokenizer.json": text.Bytes(), "tokenizer_config.json": settings.Bytes()}})
		},
	}
	f := c.Flags()
	f.StringVar(&weights, "weights", "", "llama2.c weight file")
	f.StringVar(&tok, "tokenizer", "", "its tokenizer.bin or tokenizer.model")
	f.StringVar(&out, "out", "", "directory to write")
	return c
}

func importGGUF() *cobra.Command {
	var out, dtype string
	var o gguf.ImportOptions
	c := &cobra.Command{
		Use:   "gguf FILE --out DIR",
		Short: "Import a GGUF file of llama.cpp: architectures llama and deci",
		Long: `Import a GGUF file of llama.cpp: architectures llama and deci, with its tokenizer
and chat template. Tensors of F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K
and Q6_K are read; quantized ones are written as floats.`,
		Example: "  mop import gguf SmolLM2-135M-Instruct.Q4_1.gguf --out ./smollm2",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := need(c, "out"); err != nil {
				return err
			}
			if dtype != "" {
				i := slices.Index(importTypes, dtype)
				if i < 0 {
					return usage("--dtype: want one of %s, got %q", strings.Join(importTypes, ", "), dtype)
				}
				d := checkpoint.DType(i)
				o.DType = &d
			}
			written, err := gguf.Import(args[0], out, o)
			if err != nil || written == nil {
				return err
			}
			if _, err := tokenizer.Parse(written); err != nil {
				slog.Warn("mop cannot read the tokenizer of this model; other programs can", "dir", out, "reason", err)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&out, "out", "", "directory to write")
	f.StringVar(&dtype, "dtype", "", "type of the weights: f32, f16 or bf16 (default: that of the file's matrices; f16 for quantized ones)")
	f.StringVar(&o.PreTokenizer, "pre-tokenizer", "", "llama.cpp's name of the pre-tokenizer, for a file without tokenizer.ggml.pre")
	return c
}

// importTypes are the values of --dtype, in the order of checkpoint.DType.
var importTypes = []string{checkpoint.F32: "f32", checkpoint.F16: "f16", checkpoint.BF16: "bf16"}
