package main

import (
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mop/runtime/checkpoint"
	"mop/runtime/checkpoint/gguf"
	"mop/runtime/config"
	"mop/runtime/tokenizer"
)

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
			if err := config.CheckHFType(o.HFType); err != nil {
				return usage("%v", err)
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
	hfTypeFlag(c, &o.HFType)
	f.StringVar(&o.PreTokenizer, "pre-tokenizer", "", "llama.cpp's name of the pre-tokenizer, for a file without tokenizer.ggml.pre")
	return c
}

// importTypes are the values of --dtype, in the order of checkpoint.DType.
var importTypes = []string{checkpoint.F32: "f32", checkpoint.F16: "f16", checkpoint.BF16: "bf16"}
